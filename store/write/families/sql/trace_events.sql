-- trace_events: the events that carry a workflow's correlation id, the first one first; by idx_event_logs_correlation_id.
-- occurred_at: what its id says (a UUIDv7; none before the year 2000), but not after it was kept.
-- in:  ids uuid[] (what the workflow is known by), first_id and last_id (of events: days.py), rows_limit, row_bytes and bytes_limit (of a row, of all, as text)
-- out: the first rows that fit (JSON array; see row_within), how many there are
select coalesce(jsonb_agg(item order by place) filter (where bytes <= %(bytes_limit)s::bigint), '[]'), coalesce(max(there), 0)
from (
  select item, place, there, sum(octet_length(item::text) + 2) over (order by place) as bytes
  from (
    select
      row_within(jsonb_build_object(
        'id', id, 'event_type', event_type, 'correlation_id', correlation_id, 'session_id', session_id, 'direction', direction,
        'topic', topic, 'partition_key', partition_key, 'status', status, 'attempts', attempts, 'payload', payload,
        'metadata', metadata, 'occurred_at', occurred_at, 'created_at', created_at, 'published_at', published_at),
        %(row_bytes)s::bigint) as item,
      place, there
    from (
      select event_logs.*, occurred_at, row_number() over (order by occurred_at, id) as place, count(*) over () as there
      from event_logs
      cross join lateral (select least(created_at, case when id >= '00dc6acf-ac00-0000-0000-000000000000' and substr(id::text, 15, 1) = '7'
        then to_timestamp(('x' || translate(left(id::text, 13), '-', ''))::bit(48)::bigint / 1000.0) end) as occurred_at) as told
      where correlation_id = any(%(ids)s::uuid[]) and id between %(first_id)s::uuid and %(last_id)s::uuid
    ) as event
    where place <= %(rows_limit)s::integer
  ) as shown
) as measured
