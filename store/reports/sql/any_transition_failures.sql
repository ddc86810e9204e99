-- any_transition_failures: whether moves to FAILED of a while ago or later lie between two ids.   in: within, first_id, last_id   out: boolean
-- The newest of them, so that the index is walked that has them in this order, and not the one of the ids.
select coalesce((
  select true from fsm_transitions
  where to_state = 'FAILED' and transition_at > now() - %(within)s::interval
    and id between %(first_id)s::uuid and %(last_id)s::uuid
  order by transition_at desc limit 1), false)
