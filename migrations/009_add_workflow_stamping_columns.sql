-- What stamping tells of a workflow. file_hash is as wide as in metadata_stamps.
alter table workflow_executions
  add column if not exists stamp_id varchar(255),
  add column if not exists file_hash varchar(128),
  add column if not exists workflow_steps jsonb default '[]',
  add column if not exists intelligence_data jsonb,
  add column if not exists hash_generation_time_ms integer check (hash_generation_time_ms >= 0),
  add column if not exists workflow_steps_executed integer default 0 check (workflow_steps_executed >= 0),
  add column if not exists session_id uuid;

-- Partial, because most workflows have none of the three.
-- the workflow that made a stamp
create index if not exists idx_workflow_executions_stamp_id on workflow_executions (stamp_id) where stamp_id is not null;
-- the workflows of a file
create index if not exists idx_workflow_executions_file_hash on workflow_executions (file_hash)
  where file_hash is not null;
-- the workflows of a session
create index if not exists idx_workflow_executions_session_id on workflow_executions (session_id)
  where session_id is not null;
