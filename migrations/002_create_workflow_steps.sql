-- One row per step of a workflow, written once. The id is the operation's own UUIDv7, which begins with its time, so
-- the table is partitioned by day on its key: the key stays unique, and a day is removed by dropping its partition.
create table if not exists workflow_steps (
  id uuid primary key,
  workflow_id uuid not null references workflow_executions (id) on delete cascade,
  step_name varchar(100) not null,
  step_order integer not null check (step_order >= 0),
  status varchar(50) not null,
  execution_time_ms integer check (execution_time_ms >= 0),
  step_data jsonb not null default '{}',
  error_message text,
  created_at timestamptz not null default now()
) partition by range (id);

-- Rows whose day has no partition: old ones, and those without a time. Always there, so that no row is ever refused.
create table if not exists workflow_steps_default partition of workflow_steps default;

-- the steps of a workflow, in order; also the cascade from a deleted workflow
create index if not exists idx_workflow_steps_workflow_id_order on workflow_steps (workflow_id, step_order);
-- the latest steps, and the statistics over the steps of a range of time
create index if not exists idx_workflow_steps_created_at on workflow_steps (created_at desc);
