-- Details that the platform's database guide describes beside the columns of 001 to 006; all may stay empty.
alter table workflow_executions
  add column if not exists workflow_id uuid,
  add column if not exists input_data jsonb default '{}',
  add column if not exists output_data jsonb default '{}',
  add column if not exists error_info jsonb default '{}';

alter table workflow_steps
  add column if not exists step_type varchar(50),
  add column if not exists input_data jsonb default '{}',
  add column if not exists output_data jsonb default '{}',
  add column if not exists started_at timestamptz,
  add column if not exists completed_at timestamptz;

alter table fsm_transitions
  add column if not exists triggered_by varchar(100),
  add column if not exists metadata jsonb default '{}';

alter table bridge_states
  add column if not exists node_type varchar(100),
  add column if not exists correlation_id uuid,
  add column if not exists state_data jsonb default '{}',
  add column if not exists metadata jsonb default '{}';

alter table node_registrations
  add column if not exists endpoint_url varchar(500);

alter table metadata_stamps
  add column if not exists stamp_id varchar(255),
  add column if not exists file_metadata jsonb default '{}',
  add column if not exists intelligence_data jsonb default '{}',
  add column if not exists metadata_version varchar(10) default '0.1';

-- a stamp by its own name
create index if not exists idx_metadata_stamps_stamp_id on metadata_stamps (stamp_id);
