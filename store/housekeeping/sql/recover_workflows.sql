-- recover_workflows: bring those of some workflows that are behind their transitions to what these prove.
-- in:  ids uuid[], correlation ids; at timestamptz, after interval, as in find_behind
-- out: what was recovered, by correlation id: from which state to which, since when it was so
-- A row that somebody else holds is left for the next time: nobody waits here, so the order of locks is of no matter. It is
-- looked at as it is when it is held. Clocks: an end that is concluded has rank 3, below a reported one (4); any other state
-- is above a reported PENDING and below all else that is reported (`~` sorts behind every digit). completed_at has none. Where a
-- policy guessed the end, what it wrote beside it, without clocks, goes.
with behind as materialized (
  select
    workflow.id, workflow.correlation_id, workflow.current_state as from_state, machine.current_state as to_state,
    workflow.current_state in ('COMPLETED', 'FAILED') as was_given_up,
    machine.current_state in ('COMPLETED', 'FAILED') as ends, machine.last_transition_at, machine.clock,
    greatest(machine.updated_at, workflow.created_at) as since
  from workflow_executions as workflow
  cross join lateral (
    select * from fsm_states as machine
    where machine.entity_type = 'workflow_execution' and machine.entity_id = any(array[
      workflow.correlation_id,
      case when workflow.id <> workflow.correlation_id
        and not exists (select from workflow_executions as other where other.correlation_id = workflow.id)
        then workflow.id end])
    order by machine.current_state in ('COMPLETED', 'FAILED') desc, machine.clock desc
    limit 1) as machine
  where workflow.correlation_id = any(%(ids)s::uuid[])
    and (workflow.current_state not in ('COMPLETED', 'FAILED') or workflow.stalled_at is not null)
    and (machine.current_state in ('COMPLETED', 'FAILED')
      or (machine.current_state <> 'PENDING' and workflow.current_state = 'PENDING'))
    and machine.updated_at <= %(at)s::timestamptz - %(after)s::interval
    and workflow.created_at <= %(at)s::timestamptz - %(after)s::interval
  order by workflow.correlation_id
  for no key update of workflow skip locked
),
recovered as (
  update workflow_executions as held set
    current_state = behind.to_state,
    clocks = held.clocks || jsonb_build_object('current_state',
      case when behind.ends then '3' else '1~' end || left(behind.clock, 16) || right(behind.clock, 32)),
    completed_at = case
      when was_given_up and not held.clocks ? 'completed_at' then behind.last_transition_at
      when behind.ends then coalesce(held.completed_at, behind.last_transition_at)
      else held.completed_at end,
    error_message = case when was_given_up and not held.clocks ? 'error_message' then null else held.error_message end,
    stalled_at = null,
    row_version = held.row_version + 1,
    updated_at = %(at)s::timestamptz
  from behind
  where held.id = behind.id
  returning held.correlation_id, held.workflow_type, held.namespace, behind.from_state, behind.to_state,
    behind.last_transition_at, behind.since
)
select correlation_id, workflow_type, namespace, from_state, to_state, last_transition_at, since
from recovered
order by correlation_id
