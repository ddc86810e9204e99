-- Undoes 020: the columns, with what is in them. Writes that the ledger knows can no longer be answered the same.
alter table if exists operations
  drop column if exists result;

alter table if exists node_registrations
  drop column if exists row_version;

alter table if exists bridge_states
  drop column if exists row_version;

alter table if exists metadata_stamps
  drop column if exists row_version;

alter table if exists fsm_transitions
  drop column if exists row_version;

alter table if exists workflow_steps
  drop column if exists row_version;

alter table if exists workflow_executions
  drop column if exists row_version;
