-- report_workflow_by_correlation_id: a workflow and how long it took.   in: id uuid   out: its row (JSON), duration_ms or null
select
  to_jsonb(workflow) - 'clocks' - 'stalled_at',
  coalesce(extract(epoch from completed_at - started_at) * 1000, execution_time_ms)::float8
from workflow_executions as workflow
where correlation_id = %(id)s::uuid
