-- Undoes 011: the columns, with what is in them and their index.
alter table if exists metadata_stamps
  drop column if exists metadata_version,
  drop column if exists intelligence_data,
  drop column if exists file_metadata,
  drop column if exists stamp_id;

alter table if exists node_registrations
  drop column if exists endpoint_url;

alter table if exists bridge_states
  drop column if exists metadata,
  drop column if exists state_data,
  drop column if exists correlation_id,
  drop column if exists node_type;

alter table if exists fsm_transitions
  drop column if exists metadata,
  drop column if exists triggered_by;

alter table if exists workflow_steps
  drop column if exists completed_at,
  drop column if exists started_at,
  drop column if exists output_data,
  drop column if exists input_data,
  drop column if exists step_type;

alter table if exists workflow_executions
  drop column if exists error_info,
  drop column if exists output_data,
  drop column if exists input_data,
  drop column if exists workflow_id;
