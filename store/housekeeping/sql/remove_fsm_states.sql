-- remove_fsm_states: states of workflows that are gone, and that did not move for long.
-- in: cut, after_at and after (where the last portion stopped), rows_limit
-- out: rows removed, rows looked at, last_transition_at and entity_id of the last of them   (idx_fsm_states_recovery)
-- A transition's time may be an hour ahead of its arrival, so nothing that is old has moved later than a day after `cut`.
with scanned as materialized (
  select entity_id, last_transition_at
  from fsm_states
  where entity_type = 'workflow_execution' and last_transition_at < %(cut)s::timestamptz + interval '1 day'
    and last_transition_at >= %(after_at)s::timestamptz
    and (last_transition_at, entity_id) > (%(after_at)s::timestamptz, %(after)s::uuid)
  order by last_transition_at, entity_id
  limit %(rows_limit)s::bigint
),
locked as materialized (
  select held.entity_id
  from scanned join fsm_states as held on held.entity_type = 'workflow_execution' and held.entity_id = scanned.entity_id
  where held.updated_at < %(cut)s::timestamptz
    and not exists (select from workflow_executions as workflow where workflow.correlation_id = held.entity_id)
    and not exists (select from workflow_executions as workflow where workflow.id = held.entity_id)
  order by held.entity_id
  for update of held skip locked
),
gone as (
  delete from fsm_states as held using locked
  where held.entity_type = 'workflow_execution' and held.entity_id = locked.entity_id
  returning 1
)
select
  (select count(*) from gone), count(*),
  max(last_transition_at), (array_agg(entity_id order by last_transition_at desc, entity_id desc))[1]
from scanned
