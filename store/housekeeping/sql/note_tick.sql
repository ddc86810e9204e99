-- note_tick: add what a portion did to its tick's row.
-- in: name, due_at, outcome ('running' or 'done'), begun (1 in the first portion of a run, else 0), worked_ms, rows, counts, ran_by
-- out: a row; none when the tick is done already, and then the portion must not be committed
-- The last statement of the portion's transaction: whoever holds the row has all its other locks already.
insert into schedule_ticks as t
  (name, due_at, outcome, started_at, ended_at, runs, worked_ms, rows_touched, counts, ran_by)
values (
  %(name)s::text, %(due_at)s::timestamptz, %(outcome)s::text, now(),
  case when %(outcome)s::text = 'done' then clock_timestamp() end,
  %(begun)s::integer, %(worked_ms)s::bigint, %(rows)s::bigint, %(counts)s::jsonb, %(ran_by)s::text
)
on conflict (name, due_at) do update set
  outcome = excluded.outcome,
  ended_at = excluded.ended_at,
  runs = t.runs + excluded.runs,
  worked_ms = t.worked_ms + excluded.worked_ms,
  rows_touched = t.rows_touched + excluded.rows_touched,
  counts = (
    select coalesce(jsonb_object_agg(key, total), '{}')
    from (
      select key, sum(value::bigint) as total
      from (select * from jsonb_each_text(t.counts) union all select * from jsonb_each_text(excluded.counts)) as both_sides
      group by key
    ) as sums
  ),
  error = null,
  ran_by = excluded.ran_by
where t.outcome <> 'done'
returning t.runs
