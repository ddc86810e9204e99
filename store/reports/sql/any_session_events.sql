-- any_session_events: whether a session has events between two ids.   in: session_id, within (kept since), first_id, last_id   out: boolean
-- The newest of them, so that the index is walked that has them in this order, and not the one of the ids.
select coalesce((
  select true from event_logs
  where session_id = %(session_id)s::uuid and created_at > now() - %(within)s::interval
    and id between %(first_id)s::uuid and %(last_id)s::uuid
  order by created_at desc limit 1), false)
