-- report_workflow_by_id: a workflow by its row's id, for rows older than the fleet.   in: id uuid   out: its row (JSON), duration_ms or null
select
  to_jsonb(workflow) - 'clocks' - 'stalled_at',
  coalesce(extract(epoch from completed_at - started_at) * 1000, execution_time_ms)::float8
from workflow_executions as workflow
where id = %(id)s::uuid
