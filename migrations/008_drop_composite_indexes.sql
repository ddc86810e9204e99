-- Undoes 008.
drop index if exists idx_workflow_executions_failed;
