-- recover_fsm_states: where the workflows stand that moved lately, newest first; by idx_fsm_states_recovery.
-- in:  before timestamptz and before_id uuid (only what comes after them in that order), within interval, rows_limit
-- out: id as text, state (JSON text); the next page begins behind the last row's last_transition_at and id
select
  entity_id::text as id,
  json_build_object(
    'current_state', current_state, 'previous_state', previous_state, 'transition_count', transition_count,
    'metadata', metadata, 'last_transition_at', last_transition_at)::text as state
from fsm_states
where entity_type = 'workflow_execution'
  and (last_transition_at, entity_id) < (%(before)s::timestamptz, %(before_id)s::uuid)
  and last_transition_at > now() - %(within)s::interval
order by last_transition_at desc, entity_id desc
limit %(rows_limit)s
