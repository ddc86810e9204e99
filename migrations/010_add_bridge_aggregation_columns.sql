-- What a reducer tells of an aggregation: sizes, the files and workflows it saw, its window, its pace, its version.
alter table bridge_states
  add column if not exists total_size_bytes bigint not null default 0 check (total_size_bytes >= 0),
  add column if not exists unique_file_types text[] not null default '{}',
  add column if not exists unique_workflows uuid[] not null default '{}',
  add column if not exists aggregation_type varchar(50) default 'namespace_grouping',
  add column if not exists window_start timestamptz,
  add column if not exists window_end timestamptz,
  add column if not exists aggregation_duration_ms integer check (aggregation_duration_ms >= 0),
  add column if not exists items_per_second numeric(10, 2) check (items_per_second >= 0),
  add column if not exists version integer not null default 1 check (version >= 1),
  add column if not exists configuration jsonb not null default '{}';
