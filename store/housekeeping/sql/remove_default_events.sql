-- remove_default_events: old events outside every day, by their id's time; those without one by when they came. What waits to go out stays.
-- in: cut, first_kept (the first id of the time that is kept), first_timed (the first id that has a time), after (an id), rows_limit
-- out: rows removed, rows looked at, null, the last id looked at.   Rows that somebody holds are left for the next run.
with scanned as materialized (
  select id as id from event_logs_default where id > %(after)s::uuid order by id limit %(rows_limit)s::bigint
),
locked as materialized (
  select held.id as id
  from scanned join event_logs_default as held on held.id = scanned.id
  where held.id < %(first_kept)s::uuid and (held.id >= %(first_timed)s::uuid or held.created_at < %(cut)s::timestamptz)
    and not (held.direction = 'out' and held.status = 'pending')
  order by held.id
  for update of held skip locked
),
gone as (
  delete from event_logs_default as held using locked where held.id = locked.id returning 1
)
select (select count(*) from gone), count(*), null::timestamptz, (array_agg(id order by id desc))[1] from scanned
