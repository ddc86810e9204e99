-- namespace_workflows: a namespace's workflows in numbers; by idx_workflow_executions_namespace_state.
-- in:  namespace   out: JSON {avg_processing_time_ms (null: none tells; an end before its start tells nothing), workflows_by_state {state: number}}
select jsonb_build_object(
  'avg_processing_time_ms', round(sum(took_ms) / nullif(sum(timed), 0), 3),
  'workflows_by_state', coalesce(jsonb_object_agg(current_state, number), '{}'))
from (
  select
    current_state, count(*) as number,
    sum(took.ms) filter (where current_state = 'COMPLETED') as took_ms,
    count(took.ms) filter (where current_state = 'COMPLETED') as timed
  from workflow_executions
  cross join lateral (values (
    coalesce(execution_time_ms, case when completed_at >= started_at then extract(epoch from completed_at - started_at) * 1000 end)::numeric
  )) as took (ms)
  where namespace = %(namespace)s::text
  group by current_state
) as states
