-- workflow_by_id: a workflow by its row's id, for rows older than the fleet.   in: id uuid, row_bytes (of its text)
-- out: its row (JSON; see row_within), duration_ms or null (no end, or one before its start, and nothing said)
select
  row_within(to_jsonb(workflow) - 'clocks' - 'stalled_at', %(row_bytes)s::bigint),
  coalesce(case when completed_at >= started_at then extract(epoch from completed_at - started_at) * 1000 end, execution_time_ms)::float8
from workflow_executions as workflow
where id = %(id)s::uuid
