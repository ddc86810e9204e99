-- step_timing: how long completed steps took, by name and type, the slowest first; by idx_workflow_steps_created_at.
-- in:  within interval, first_id and last_id (of steps: days.py), rows_limit (groups)   out: one group a row (JSON), how many groups there are
-- An end before its start tells no time.
select jsonb_build_object(
  'step_name', step_name, 'step_type', step_type, 'avg_time_ms', round(avg(took_ms), 3), 'min_time_ms', min(took_ms),
  'max_time_ms', max(took_ms), 'total_executions', count(*)),
  count(*) over ()
from (
  select
    step_name, step_type,
    coalesce(execution_time_ms, case when completed_at >= started_at then round(extract(epoch from completed_at - started_at) * 1000, 3) end)
      as took_ms
  from workflow_steps
  where status = 'COMPLETED' and created_at > now() - %(within)s::interval
    and id between %(first_id)s::uuid and %(last_id)s::uuid
) as completed
group by step_name, step_type
order by avg(took_ms) desc nulls last, step_name, step_type
limit %(rows_limit)s::integer
