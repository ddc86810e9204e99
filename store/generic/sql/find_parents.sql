-- find_parents: the workflows that steps or stamps name, held in key order so that none of them goes away.
-- in: ids, an array: correlation ids, or ids of rows older than the fleet   out: correlation_id, id
select workflow.correlation_id, workflow.id
from workflow_executions as workflow
where workflow.correlation_id = any(%(ids)s::uuid[]) or workflow.id = any(%(ids)s::uuid[])
order by workflow.correlation_id
for key share
