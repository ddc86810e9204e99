-- report_events_with_error: the newest events whose payload has a member 'error'; by idx_event_logs_error.
-- in:  within interval (kept since), rows_limit, bytes_limit (of the payloads as text)
-- out: one event a row (JSON)
select item
from (
  select
    jsonb_build_object(
      'id', id, 'event_type', event_type, 'correlation_id', correlation_id, 'session_id', session_id, 'direction', direction,
      'topic', topic, 'status', status, 'error', payload -> 'error', 'payload', payload, 'created_at', created_at) as item,
    created_at, id,
    sum(2 * octet_length(payload::text) + 500) over (order by created_at desc, id desc) as bytes
  from (
    select * from event_logs
    where payload ? 'error' and created_at > now() - %(within)s::interval
    order by created_at desc, id desc
    limit %(rows_limit)s::integer
  ) as newest
) as measured
where bytes <= %(bytes_limit)s::bigint
order by created_at desc, id desc
