-- open_fsm_states: a row for each machine of a portion that has transitions and no state, to be filled by rebuild_fsm_states in
-- the same transaction; its clock is below every other, so that a writer who waits for the row wins.
-- in: as check_fsm_states   Keys in order, as append_transitions locks them.
insert into fsm_states (
  entity_type, entity_id, current_state, transition_count, last_transition_at, clock)
select distinct on (entity_type, entity_id) entity_type, entity_id, to_state, 0, transition_at, ''
from fsm_transitions
where (entity_type, entity_id) > (%(type)s::text, %(id)s::uuid)
  and (entity_type, entity_id) <= (%(last_type)s::text, %(last_id)s::uuid)
order by entity_type, entity_id
on conflict (entity_type, entity_id) do nothing
