-- remove_default_transitions: old transitions outside every day, by their id's time; those without one by when they came.
-- in: cut, first_kept (the first id of the time that is kept), first_timed (the first id that has a time), after (an id), rows_limit
-- Days that are made later for the time of removed rows would look whole: that time counts as dropped from now on.
-- out: rows removed, rows looked at, null, the last id looked at.   Rows that somebody holds are left for the next run.
with scanned as materialized (
  select id as id from fsm_transitions_default where id > %(after)s::uuid order by id limit %(rows_limit)s::bigint
),
locked as materialized (
  select held.id as id
  from scanned join fsm_transitions_default as held on held.id = scanned.id
  where held.id < %(first_kept)s::uuid and (held.id >= %(first_timed)s::uuid or held.created_at < %(cut)s::timestamptz)
  order by held.id
  for update of held skip locked
),
gone as (
  delete from fsm_transitions_default as held using locked where held.id = locked.id returning 1
),
noted as (
  insert into dropped_days as held (parent, last_day)
  select 'fsm_transitions', (%(cut)s::timestamptz at time zone 'UTC')::date - 1 where exists (select from gone)
  on conflict (parent) do update set last_day = greatest(held.last_day, excluded.last_day)
)
select (select count(*) from gone), count(*), null::timestamptz, (array_agg(id order by id desc))[1] from scanned
