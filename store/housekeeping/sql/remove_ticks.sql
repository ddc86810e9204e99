-- remove_ticks: what schedules did long ago; of each the last tick stays, and the last that was done.
-- in: cut, rows_limit   out: rows removed, and that number again, null, null: as many as rows_limit means that there may be more
with locked as materialized (
  select name, due_at from schedule_ticks as held where held.due_at < %(cut)s::timestamptz
    and held.due_at < (select max(due_at) from schedule_ticks as later where later.name = held.name)
    and held.due_at < coalesce((select max(due_at) from schedule_ticks as later where later.name = held.name and later.outcome = 'done'), 'infinity')
  order by name, due_at
  limit %(rows_limit)s::bigint
  for update of held skip locked
),
gone as (
  delete from schedule_ticks as held using locked where (held.name, held.due_at) = (locked.name, locked.due_at) returning 1
)
select count(*), count(*), null::timestamptz, null::uuid from gone
