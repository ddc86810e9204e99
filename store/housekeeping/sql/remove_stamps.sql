-- remove_stamps: old stamps. created_at is what the operation said of itself and the id says when it was sent: both have to be old,
-- so a stamp without a time is kept.
-- in: cut, first_kept (the first id of the time that is kept), first_timed (the first id that has a time), after (an id), rows_limit
-- out: rows removed, rows looked at, null, the last id looked at.   Rows that somebody holds are left for the next run.
with scanned as materialized (
  select id as id from metadata_stamps where id > %(after)s::uuid and id < %(first_kept)s::uuid order by id limit %(rows_limit)s::bigint
),
locked as materialized (
  select held.id as id
  from scanned join metadata_stamps as held on held.id = scanned.id
  where held.id >= %(first_timed)s::uuid and held.created_at < %(cut)s::timestamptz
  order by held.id
  for update of held skip locked
),
gone as (
  delete from metadata_stamps as held using locked where held.id = locked.id returning 1
)
select (select count(*) from gone), count(*), null::timestamptz, (array_agg(id order by id desc))[1] from scanned
