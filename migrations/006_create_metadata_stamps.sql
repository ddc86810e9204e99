-- One row per stamp, written once: an audit trail, so neither the file nor the stamp is unique, and a stamp outlives
-- the workflow that made it.
create table if not exists metadata_stamps (
  id uuid primary key default uuid_v7(),
  workflow_id uuid references workflow_executions (id) on delete set null,
  file_hash varchar(128),
  stamp_data jsonb not null,
  namespace varchar(255) not null default 'unknown',
  created_at timestamptz not null default now()
);

-- the stamps of a workflow; also the release of the stamps of a deleted workflow
create index if not exists idx_metadata_stamps_workflow_id on metadata_stamps (workflow_id);
-- the stamps of a file
create index if not exists idx_metadata_stamps_file_hash on metadata_stamps (file_hash);
-- the latest stamps of a namespace, and its statistics
create index if not exists idx_metadata_stamps_namespace_created_at on metadata_stamps (namespace, created_at desc);
