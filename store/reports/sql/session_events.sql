-- session_events: a session's events in the order in which they happened; by idx_event_logs_session.
-- occurred_at: what its id says (a UUIDv7; none before the year 2000), but not after it was kept.
-- in:  session_id uuid, within interval (kept since), first_id and last_id (of events: days.py), rows_limit, row_bytes and bytes_limit (of a row, of all, as text)
-- out: how many, their types (the first 1,000), from the first to the last in ms or null,
--      the first of them that fit (JSON array; see row_within)
with happened as (
  select
    event_logs.*, told.occurred_at,
    row_number() over sequence as place,
    extract(epoch from told.occurred_at - lag(told.occurred_at) over sequence)::float8 * 1000 as time_diff_ms
  from event_logs
  cross join lateral (select least(created_at, case when id >= '00dc6acf-ac00-0000-0000-000000000000' and substr(id::text, 15, 1) = '7'
    then to_timestamp(('x' || translate(left(id::text, 13), '-', ''))::bit(48)::bigint / 1000.0) end) as occurred_at) as told
  where session_id = %(session_id)s::uuid and created_at > now() - %(within)s::interval
    and id between %(first_id)s::uuid and %(last_id)s::uuid
  window sequence as (order by told.occurred_at, id)
), shown as (
  select item, place, sum(octet_length(item::text) + 2) over (order by place) as bytes
  from (
    select
      place,
      row_within(jsonb_build_object(
        'id', id, 'event_type', event_type, 'correlation_id', correlation_id, 'direction', direction, 'topic', topic,
        'status', status, 'payload', payload, 'occurred_at', occurred_at, 'created_at', created_at,
        'time_diff_ms', time_diff_ms), %(row_bytes)s::bigint) as item
    from happened
    where place <= %(rows_limit)s::integer
  ) as first
)
select
  (select count(*) from happened),
  (select coalesce((array_agg(distinct event_type order by event_type))[1:1000], '{}') from happened)::text[],
  (select extract(epoch from max(occurred_at) - min(occurred_at))::float8 * 1000 from happened),
  (select coalesce(jsonb_agg(item order by place), '[]') from shown where bytes <= %(bytes_limit)s::bigint)
