-- open_workflows: insert every workflow that a batch touches, told or only mentioned, unless it stands already.
-- in:  rows, a JSON array of workflow rows (see merge_workflows); those that are only mentioned have a correlation_id and no more
-- out: the correlation ids of the rows made now
-- No conflict target: both the primary key and the correlation id may stand already. ONE statement for all, sorted: two
-- sorted passes over one table can wait for each other in a circle.
insert into workflow_executions (
  id, correlation_id, clocks, current_state, started_at, workflow_type, namespace, completed_at, execution_time_ms,
  error_message, metadata, stamp_id, file_hash, session_id, workflow_id, workflow_steps, workflow_steps_executed,
  hash_generation_time_ms, intelligence_data, input_data, output_data, error_info)
select
  given.correlation_id, given.correlation_id, coalesce(given.clocks, '{}'), coalesce(given.current_state, 'PENDING'),
  given.started_at, coalesce(given.workflow_type, 'unknown'), coalesce(given.namespace, 'unknown'), given.completed_at,
  given.execution_time_ms, given.error_message, coalesce(given.metadata, '{}'), given.stamp_id, given.file_hash,
  given.session_id, given.workflow_id, coalesce(given.workflow_steps, '[]'), coalesce(given.workflow_steps_executed, 0),
  given.hash_generation_time_ms, given.intelligence_data, coalesce(given.input_data, '{}'),
  coalesce(given.output_data, '{}'), coalesce(given.error_info, '{}')
from jsonb_to_recordset(%(rows)s::jsonb) as given (
  correlation_id uuid, clocks jsonb, current_state text, started_at timestamptz, workflow_type text, namespace text,
  completed_at timestamptz, execution_time_ms integer, error_message text, metadata jsonb, stamp_id text, file_hash text,
  session_id uuid, workflow_id uuid, workflow_steps jsonb, workflow_steps_executed integer,
  hash_generation_time_ms integer, intelligence_data jsonb, input_data jsonb, output_data jsonb, error_info jsonb)
order by given.correlation_id
on conflict do nothing
returning correlation_id
