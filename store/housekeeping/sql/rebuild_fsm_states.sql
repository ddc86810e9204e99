-- rebuild_fsm_states: what the transitions of a portion say, into its states, which are held.
-- in:  as check_fsm_states; opened: whether the rows that open_fsm_states made are meant, or all others; delete_surplus
-- out: entity_type, entity_id, and what was done (rebuilt, deleted, left), of every machine that was not so
-- Where all of a machine's history is there (as in check_fsm_states), or its row was opened just now, the state becomes what the
-- transitions say; one without any is left, unless delete_surplus. Metadata stays where the transition is the same: only the operation knew whether it was given.
-- Else nothing is taken back: only a newer state and a greater count are taken over.
with told as materialized (
  select * from fsm_told(%(type)s::text, %(id)s::uuid, %(last_type)s::text, %(last_id)s::uuid)
),
held as materialized (
  select * from fsm_held(%(type)s::text, %(id)s::uuid, %(last_type)s::text, %(last_id)s::uuid)
  where (clock = '') = %(opened)s::boolean
),
surplus as materialized (
  select entity_type, entity_id, %(delete_surplus)s::boolean or clock = '' as goes
  from held
  where (is_whole or clock = '')
    and not exists (select from told where told.entity_type = held.entity_type and told.entity_id = held.entity_id)
),
gone as (
  delete from fsm_states as state
  using surplus
  where state.entity_type = surplus.entity_type and state.entity_id = surplus.entity_id and surplus.goes
),
rebuilt as (
  update fsm_states as state set
    current_state = case when newer then told.to_state else state.current_state end,
    previous_state = case when newer then told.from_state else state.previous_state end,
    last_transition_at = case when newer then told.transition_at else state.last_transition_at end,
    metadata = case when newer and told.clock <> state.clock then told.metadata else state.metadata end,
    clock = case when newer then told.clock else state.clock end,
    transition_count = case when held.is_whole then told.transitions else greatest(state.transition_count, told.transitions) end,
    first_transition_id = case when held.is_whole or state.transition_count <= told.transitions
      then told.first_id else state.first_transition_id end,
    updated_at = now()
  from held
  join told on told.entity_type = held.entity_type and told.entity_id = held.entity_id
  cross join lateral (select held.is_whole or told.clock >= held.clock collate "C" as newer) as compared
  where state.entity_type = held.entity_type and state.entity_id = held.entity_id
    and case when held.is_whole then
        (held.current_state, held.previous_state, held.clock, held.transition_count)
        is distinct from (told.to_state, told.from_state, told.clock, told.transitions)
      else
        told.transitions > held.transition_count or told.clock > held.clock collate "C"
        or (told.clock = held.clock
          and (told.to_state, told.from_state) is distinct from (held.current_state, held.previous_state))
      end
  returning state.entity_type, state.entity_id
)
select entity_type, entity_id, 'rebuilt' as done from rebuilt
union all
select entity_type, entity_id, case when goes then 'deleted' else 'left' end from surplus
order by entity_type, entity_id
