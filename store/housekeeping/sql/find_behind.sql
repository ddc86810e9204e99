-- find_behind: workflows whose transitions prove more than the workflow's row says, and have for some time.
-- in:  at timestamptz, after interval, rows_limit
-- out: correlation ids in their order. recover_workflows looks again at each
-- More is: an end where the row has none, or one that a policy guessed (FAILED, and stalled_at stands); or any move where the row
-- is PENDING. A machine is a workflow's by its correlation id; where no row has that, by the `id` of the row.
select correlation_id
from (
  select workflow.correlation_id
  from workflow_executions as workflow
  join fsm_states as machine
    on machine.entity_type = 'workflow_execution' and machine.entity_id = workflow.correlation_id
  where (workflow.current_state not in ('COMPLETED', 'FAILED') or workflow.stalled_at is not null)
    and (machine.current_state in ('COMPLETED', 'FAILED')
      or (machine.current_state <> 'PENDING' and workflow.current_state = 'PENDING'))
    and machine.updated_at <= %(at)s::timestamptz - %(after)s::interval
    and workflow.created_at <= %(at)s::timestamptz - %(after)s::interval
  union
  select workflow.correlation_id
  from workflow_executions as workflow
  join fsm_states as machine on machine.entity_type = 'workflow_execution' and machine.entity_id = workflow.id
  where workflow.id <> workflow.correlation_id
    and not exists (select from workflow_executions as other where other.correlation_id = workflow.id)
    and (workflow.current_state not in ('COMPLETED', 'FAILED') or workflow.stalled_at is not null)
    and (machine.current_state in ('COMPLETED', 'FAILED')
      or (machine.current_state <> 'PENDING' and workflow.current_state = 'PENDING'))
    and machine.updated_at <= %(at)s::timestamptz - %(after)s::interval
    and workflow.created_at <= %(at)s::timestamptz - %(after)s::interval
) as behind
order by correlation_id
limit %(rows_limit)s::integer
