-- events_with_error: the newest events whose payload has a member 'error'; by idx_event_logs_error.
-- in:  within interval (kept since), first_id and last_id (of events: days.py), rows_limit, row_bytes and bytes_limit (of a row, of all, as text)
-- out: one event a row (JSON; see row_within), how many there are, or more than rows_limit
select item, there
from (
  select item, place, count(*) over () as there, sum(octet_length(item::text)) over (order by place) as bytes
  from (
    select
      row_within(jsonb_build_object(
        'id', id, 'event_type', event_type, 'correlation_id', correlation_id, 'session_id', session_id, 'direction', direction,
        'topic', topic, 'status', status, 'error', payload -> 'error', 'payload', payload, 'created_at', created_at),
        %(row_bytes)s::bigint) as item,
      row_number() over (order by created_at desc, id desc) as place
    from event_logs
    where payload ? 'error' and created_at > now() - %(within)s::interval
      and id between %(first_id)s::uuid and %(last_id)s::uuid
    order by created_at desc, id desc
    limit %(rows_limit)s::integer + 1
  ) as newest
) as measured
where place <= %(rows_limit)s::integer and bytes <= %(bytes_limit)s::bigint
order by place
