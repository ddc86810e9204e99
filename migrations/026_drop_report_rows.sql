-- Undoes 026.
drop function if exists row_within(jsonb, bigint);
drop index if exists idx_workflow_executions_workflow_id;
