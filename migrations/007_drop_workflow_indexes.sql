-- Undoes 007.
drop index if exists idx_workflow_executions_created_at;
drop index if exists idx_workflow_executions_workflow_type;
drop index if exists idx_workflow_executions_namespace_state;
