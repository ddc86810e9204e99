-- Undoes 009: the columns, with what is in them and their indexes.
alter table if exists workflow_executions
  drop column if exists session_id,
  drop column if exists workflow_steps_executed,
  drop column if exists hash_generation_time_ms,
  drop column if exists intelligence_data,
  drop column if exists workflow_steps,
  drop column if exists file_hash,
  drop column if exists stamp_id;
