-- workflows_by_workflow_id: which workflows were told with that workflow_id, the newest first; by idx_workflow_executions_workflow_id.
-- in:  id uuid, rows_limit   out: correlation_id
select correlation_id
from workflow_executions
where workflow_id = %(id)s::uuid
order by created_at desc, id
limit %(rows_limit)s::integer
