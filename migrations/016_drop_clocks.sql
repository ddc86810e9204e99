-- Undoes 016: the columns, with what is in them. Rows no longer know which of two operations came first.
alter table if exists node_registrations
  drop column if exists clocks,
  drop column if exists liveness;

alter table if exists bridge_states
  drop column if exists clocks,
  drop column if exists contributed_size_bytes,
  drop column if exists contributed_items_aggregated,
  drop column if exists contributed_workflows_processed;

alter table if exists workflow_executions
  drop column if exists clocks;
