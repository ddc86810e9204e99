-- Generic writes. row_version: how often a row was written, so that an update can insist on the row that its sender has read.
-- A constant default: rows that stand already are not rewritten for it.
alter table workflow_executions
  add column if not exists row_version bigint not null default 1;

alter table workflow_steps
  add column if not exists row_version bigint not null default 1;

alter table fsm_transitions
  add column if not exists row_version bigint not null default 1;

alter table metadata_stamps
  add column if not exists row_version bigint not null default 1;

alter table bridge_states
  add column if not exists row_version bigint not null default 1;

alter table node_registrations
  add column if not exists row_version bigint not null default 1;

-- result: what a generic write answered, so that a later delivery of it is answered the same
alter table operations
  add column if not exists result jsonb;
