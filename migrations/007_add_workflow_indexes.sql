-- Indexes for the ways in which workflows are listed.

-- the workflows of a namespace, and those of them in a state
create index if not exists idx_workflow_executions_namespace_state on workflow_executions (namespace, current_state);
-- the workflows of a type
create index if not exists idx_workflow_executions_workflow_type on workflow_executions (workflow_type);
-- the latest workflows by arrival: the order in which lists are read when none is asked for
create index if not exists idx_workflow_executions_created_at on workflow_executions (created_at desc);
