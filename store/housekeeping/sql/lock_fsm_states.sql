-- lock_fsm_states: hold the states of a portion, in the order in which append_transitions locks them.   in: as check_fsm_states
-- Who has added a transition that is not committed yet holds the row until it is; whoever adds one now waits for us.
select from fsm_states
where (entity_type, entity_id) > (%(type)s::text, %(id)s::uuid)
  and (entity_type, entity_id) <= (%(last_type)s::text, %(last_id)s::uuid)
order by entity_type, entity_id
for update
