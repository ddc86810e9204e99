-- remove_dead_letters: dead letters that were settled long ago (idx_dead_letters_status_created_at). Open ones stay.
-- in: cut, rows_limit   out: rows removed, and that number again, null, null: as many as rows_limit means that there may be more
with locked as materialized (
  select id, digest from dead_letters as held where held.status in ('retried', 'discarded') and held.created_at < %(cut)s::timestamptz and held.resolved_at < %(cut)s::timestamptz
  order by id, digest
  limit %(rows_limit)s::bigint
  for update of held skip locked
),
gone as (
  delete from dead_letters as held using locked where (held.id, held.digest) = (locked.id, locked.digest) returning 1
)
select count(*), count(*), null::timestamptz, null::uuid from gone
