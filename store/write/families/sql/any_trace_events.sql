-- any_trace_events: whether a workflow has events between two ids.   in: ids uuid[], first_id, last_id   out: boolean
select exists (
  select from event_logs where correlation_id = any(%(ids)s::uuid[]) and id between %(first_id)s::uuid and %(last_id)s::uuid)
