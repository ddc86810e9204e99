-- append_steps: one row per step, once.   in: rows, a JSON array of {operation_id, occurred_at, and the fields of a step}
-- workflow_id is the workflow's correlation id; only where no row has that, it is the id of a row older than the fleet.
insert into workflow_steps (
  id, workflow_id, step_name, step_order, status, execution_time_ms, step_data, error_message, created_at, step_type,
  input_data, output_data, started_at, completed_at)
select
  given.operation_id,
  coalesce((select workflow.id from workflow_executions as workflow where workflow.correlation_id = given.workflow_id), given.workflow_id),
  given.step_name, given.step_order, given.status, given.execution_time_ms, coalesce(given.step_data, '{}'),
  given.error_message, coalesce(given.created_at, given.occurred_at), given.step_type, coalesce(given.input_data, '{}'),
  coalesce(given.output_data, '{}'), given.started_at, given.completed_at
from jsonb_to_recordset(%(rows)s::jsonb) as given (
  operation_id uuid, occurred_at timestamptz, workflow_id uuid, step_name text, step_order integer, status text,
  execution_time_ms integer, step_data jsonb, error_message text, created_at timestamptz, step_type text,
  input_data jsonb, output_data jsonb, started_at timestamptz, completed_at timestamptz)
order by given.operation_id
on conflict (id) do nothing
