-- remove_default_operations: rows of the ledger outside every day. Their age is since they came, whatever their ids say: a late
-- delivery of an old operation must be known for as long as that of a new one.
-- in: cut, first_kept (the first id of the time that is kept), first_timed (the first id that has a time), after (an id), rows_limit
-- out: rows removed, rows looked at, null, the last id looked at.   Rows that somebody holds are left for the next run.
with scanned as materialized (
  select operation_id as id from operations_default where operation_id > %(after)s::uuid order by operation_id limit %(rows_limit)s::bigint
),
locked as materialized (
  select held.operation_id as id
  from scanned join operations_default as held on held.operation_id = scanned.id
  where held.claimed_at < %(cut)s::timestamptz
  order by held.operation_id
  for update of held skip locked
),
gone as (
  delete from operations_default as held using locked where held.operation_id = locked.id returning 1
)
select (select count(*) from gone), count(*), null::timestamptz, (array_agg(id order by id desc))[1] from scanned
