-- fold_steps: the steps of some ids, as in fold_workflows.   in: id, an array
select
  id, workflow_id, step_name, step_order, status, execution_time_ms, step_data, error_message, created_at, step_type,
  input_data, output_data, started_at, completed_at
from workflow_steps
where id = any(%(id)s::uuid[])
