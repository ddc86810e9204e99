-- fold_workflows: the workflows of some correlation ids, with the columns that the reference fold determines.
-- in: correlation_id, an array
select
  id, correlation_id, workflow_type, current_state, namespace, started_at, completed_at, execution_time_ms, error_message,
  metadata, stamp_id, file_hash, session_id, workflow_id, workflow_steps, workflow_steps_executed, hash_generation_time_ms,
  intelligence_data, input_data, output_data, error_info
from workflow_executions
where correlation_id = any(%(correlation_id)s::uuid[])
