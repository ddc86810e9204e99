-- One row per workflow, found by its correlation id; parent of workflow_steps and metadata_stamps.
-- started_at may be null: a workflow can be known, by one of its steps, before its start is.

-- Ids in order of time: 48 bits of milliseconds since 1970, then the random bits of a version 4 UUID, relabelled as
-- version 7. Ours, because PostgreSQL has its own only since 18 and no extension shall be needed.
create or replace function uuid_v7() returns uuid
language sql volatile parallel safe
as $$
  select encode(
    set_bit(set_bit(
      overlay(
        uuid_send(gen_random_uuid())
        placing substring(int8send(floor(extract(epoch from clock_timestamp()) * 1000)::bigint) from 3)
        from 1 for 6),
      52, 1), 53, 1),
    'hex')::uuid
$$;

-- fillfactor: a workflow is written several times in its life; the free space keeps the new version on its page.
create table if not exists workflow_executions (
  id uuid primary key default uuid_v7(),
  correlation_id uuid not null unique,
  workflow_type varchar(100) not null default 'unknown',
  current_state varchar(50) not null default 'PENDING',
  namespace varchar(255) not null default 'unknown',
  started_at timestamptz,
  completed_at timestamptz,
  execution_time_ms integer check (execution_time_ms >= 0),
  error_message text,
  metadata jsonb not null default '{}',
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
) with (fillfactor = 80);

-- the latest workflows by start, and those started in a range of time
create index if not exists idx_workflow_executions_started_at on workflow_executions (started_at desc);
