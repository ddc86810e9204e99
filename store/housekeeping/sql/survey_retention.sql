-- survey_retention: what retention would remove beyond whole days, and what it keeps although it is old.
-- in: as all the remove_ statements, each under its table's name; {held_by}: which rows hold a workflow (references.py)
-- out: table, kind ('rows', else why they are kept), count
with old_workflows as materialized (
  select
    held.current_state in ('COMPLETED', 'FAILED') as ended,
    {held_by} as held_by
  from workflow_executions as held
  where held.created_at < %(workflow_executions_cut)s::timestamptz and held.updated_at < %(workflow_executions_cut)s::timestamptz
)
select 'operations', 'rows', count(*) from operations_default where claimed_at < %(operations_cut)s::timestamptz
union all
select 'workflow_steps', 'rows', count(*) from workflow_steps_default
where id < %(workflow_steps_first_kept)s::uuid and id >= %(first_timed)s::uuid
union all
select 'fsm_transitions', 'rows', count(*) from fsm_transitions_default
where id < %(fsm_transitions_first_kept)s::uuid and (id >= %(first_timed)s::uuid or created_at < %(fsm_transitions_cut)s::timestamptz)
union all
select 'event_logs', case when direction = 'out' and status = 'pending' then 'waiting to go out' else 'rows' end, count(*)
from event_logs_default
where id < %(event_logs_first_kept)s::uuid and (id >= %(first_timed)s::uuid or created_at < %(event_logs_cut)s::timestamptz)
group by 2
union all
select 'event_logs', 'waiting to go out', count(*) from event_logs
where direction = 'out' and status = 'pending' and id < %(event_logs_first_kept)s::uuid and tableoid <> 'event_logs_default'::regclass
union all
select 'dead_letters', case status when 'open' then 'open' else 'rows' end, count(*) from dead_letters
where created_at < %(dead_letters_cut)s::timestamptz and (status = 'open' or resolved_at < %(dead_letters_cut)s::timestamptz)
group by 2
union all
select 'metadata_stamps', case when id < %(first_timed)s::uuid then 'without a time' else 'rows' end, count(*) from metadata_stamps
where id < %(metadata_stamps_first_kept)s::uuid and created_at < %(metadata_stamps_cut)s::timestamptz
group by 2
union all
select
  'workflow_executions',
  case when not ended then 'not ended' else coalesce(held_by, 'rows') end,
  count(*)
from old_workflows group by 2
union all
select
  'fsm_states',
  case when exists (select from workflow_executions as workflow where workflow.correlation_id = held.entity_id)
    or exists (select from workflow_executions as workflow where workflow.id = held.entity_id)
    then 'workflow is there' else 'rows' end,
  count(*)
from fsm_states as held
where held.entity_type = 'workflow_execution' and held.updated_at < %(fsm_states_cut)s::timestamptz
  and held.last_transition_at < %(fsm_states_cut)s::timestamptz + interval '1 day'
group by 2
union all
select 'node_registrations', 'rows', count(*) from node_registrations
where greatest(deregistered_at, registered_at, coalesce(heartbeat_received_at, last_heartbeat)) < %(node_registrations_cut)s::timestamptz
union all
select 'schedule_ticks', 'rows', count(*) from schedule_ticks as held
where held.due_at < %(schedule_ticks_cut)s::timestamptz
  and held.due_at < (select max(due_at) from schedule_ticks as later where later.name = held.name)
  and held.due_at < coalesce((select max(due_at) from schedule_ticks as later where later.name = held.name and later.outcome = 'done'), 'infinity')
