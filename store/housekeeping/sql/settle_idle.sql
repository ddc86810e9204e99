-- settle_idle: of some workflows, note those that nothing was heard of for long, and set to FAILED where a policy says so.
-- in:  ids uuid[], correlation ids; at, after, types, limits, other as in find_idle; steps_limit, how many of the newest steps count
-- out: those noted now (is_new) or failed (reason not null), by correlation id, with their last step
-- Heard of: its row, its transitions, and its newest steps by the time at which they came; the ledger knows that time, and
-- where it has forgotten, the step's own counts. What its transitions prove to have ended is for recover_workflows.
-- Rows that somebody else holds are left, as there. A state that is concluded so is above all that is reported but an end, and below
-- what transitions prove: `2~`, and the time of the conclusion. While it stands, so does stalled_at.
with idle as materialized (
  select
    workflow.id, workflow.correlation_id, workflow.current_state as state, heard.last_at, workflow.stalled_at is null as is_new,
    newest.step, coalesce(heard.last_at <= %(at)s::timestamptz - policy.ends_after, false) as fails
  from workflow_executions as workflow
  cross join lateral (
    select coalesce(
      (select one.ends_after from unnest(%(types)s::text[], %(limits)s::interval[]) as one (workflow_type, ends_after)
       where one.workflow_type = workflow.workflow_type),
      %(other)s::interval) as ends_after) as policy
  cross join lateral (
    select max(machine.updated_at) as moved_at, coalesce(bool_or(machine.current_state in ('COMPLETED', 'FAILED')), false) as ended
    from fsm_states as machine
    where machine.entity_type = 'workflow_execution' and machine.entity_id = any(array[
      workflow.correlation_id,
      case when workflow.id <> workflow.correlation_id
        and not exists (select from workflow_executions as other where other.correlation_id = workflow.id)
        then workflow.id end])) as machine
  cross join lateral (
    select
      max(coalesce(operation.claimed_at, step.created_at)) as came_at,
      (array_agg(jsonb_build_object('step_name', step.step_name, 'step_order', step.step_order, 'status', step.status,
        'created_at', step.created_at) order by step.created_at desc, step.id desc))[1] as step
    from (
      select * from workflow_steps as step
      where step.workflow_id = workflow.id
      order by step.id desc
      limit %(steps_limit)s::integer) as step
    left join operations as operation on operation.operation_id = step.id) as newest
  cross join lateral (
    select greatest(workflow.updated_at, machine.moved_at, newest.came_at) as last_at) as heard
  where workflow.correlation_id = any(%(ids)s::uuid[])
    and workflow.current_state not in ('COMPLETED', 'FAILED')
    and not machine.ended
    and ((workflow.stalled_at is null and heard.last_at <= %(at)s::timestamptz - %(after)s::interval)
      or heard.last_at <= %(at)s::timestamptz - policy.ends_after)
  order by workflow.correlation_id
  for no key update of workflow skip locked
),
reasoned as materialized (
  select *, case when fails then format('stalled: no operation for %%s s; last step %%s',
    floor(extract(epoch from %(at)s::timestamptz - last_at)), coalesce(step ->> 'step_name', 'none')) end as reason
  from idle
),
noted as (
  update workflow_executions as held set
    stalled_at = coalesce(held.stalled_at, %(at)s::timestamptz),
    current_state = case when fails then 'FAILED' else held.current_state end,
    clocks = case when fails
      then held.clocks || jsonb_build_object('current_state', '2~' || clock_text(%(at)s::timestamptz, uuid_v7()))
      else held.clocks end,
    completed_at = case when fails then coalesce(held.completed_at, %(at)s::timestamptz) else held.completed_at end,
    error_message = case when fails then coalesce(held.error_message, reason) else held.error_message end,
    row_version = held.row_version + fails::integer,
    updated_at = case when fails then %(at)s::timestamptz else held.updated_at end
  from reasoned
  where held.id = reasoned.id
  returning held.correlation_id, held.workflow_type, held.namespace, reasoned.state, reasoned.last_at, reasoned.is_new,
    reasoned.step, reasoned.reason
)
select correlation_id, workflow_type, namespace, state, last_at, is_new, step, reason
from noted
order by correlation_id
