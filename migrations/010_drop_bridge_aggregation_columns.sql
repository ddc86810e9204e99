-- Undoes 010: the columns, with what is in them.
alter table if exists bridge_states
  drop column if exists configuration,
  drop column if exists version,
  drop column if exists items_per_second,
  drop column if exists aggregation_duration_ms,
  drop column if exists window_end,
  drop column if exists window_start,
  drop column if exists aggregation_type,
  drop column if exists unique_workflows,
  drop column if exists unique_file_types,
  drop column if exists total_size_bytes;
