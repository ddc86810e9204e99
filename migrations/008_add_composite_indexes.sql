-- The composite indexes that this number is known for stand since 002 (workflow_id, step_order) and 007 (namespace,
-- current_state). What is left is the one below.

-- what failed lately: only failed workflows are in it, so it costs the others nothing
create index if not exists idx_workflow_executions_failed on workflow_executions (completed_at desc)
  where current_state = 'FAILED';
