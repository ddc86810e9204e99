-- check_fsm_states: the machines of a portion whose state is not what their transitions say.
-- in:  type, id (exclusive) and last_type, last_id (inclusive): the portion
-- out: by key: kind (missing, surplus, differs, behind), then of state and of transitions: state, previous state, when it moved, count
-- Where all of a machine's history is there (fsm_held says so), both must be equal. Else fewer may be there than were counted, but no
-- more, and none that is newer.
with told as materialized (
  select * from fsm_told(%(type)s::text, %(id)s::uuid, %(last_type)s::text, %(last_id)s::uuid)
),
held as materialized (
  select * from fsm_held(%(type)s::text, %(id)s::uuid, %(last_type)s::text, %(last_id)s::uuid)
)
select
  entity_type, entity_id,
  case
    when held.clock is null then 'missing'
    when told.clock is null then 'surplus'
    when held.is_whole then 'differs'
    else 'behind'
  end as kind,
  held.current_state, held.previous_state, held.last_transition_at, held.transition_count,
  told.to_state, told.from_state, told.transition_at, told.transitions
from held
full join told using (entity_type, entity_id)
where case
  when held.clock is null then true
  when held.is_whole then
    (held.current_state, held.previous_state, held.clock, held.transition_count)
    is distinct from (told.to_state, told.from_state, told.clock, told.transitions)
  else
    told.transitions > held.transition_count or told.clock > held.clock collate "C"
    or (told.clock = held.clock
      and (told.to_state, told.from_state) is distinct from (held.current_state, held.previous_state))
end
order by entity_type, entity_id
