-- latest_ticks: the last tick of each schedule, and when it was last done.   in: names   out, in the order of the names: a row each, nulls for none
-- Ticks ahead of the clock do not count: it was wrong when they ran, and is right again.
-- What stands for the time before a schedule existed (runs = 0) is no tick that anybody ran.
select s.name, t.due_at, t.outcome, t.started_at, t.ended_at, t.runs, t.worked_ms, t.rows_touched, t.counts, t.error, t.ran_by,
  done.ended_at as done_at
from unnest(%(names)s::text[]) with ordinality as s(name, place)
left join lateral (
  select * from schedule_ticks where name = s.name and runs > 0 and due_at <= clock_timestamp() order by due_at desc limit 1
) as t on true
left join lateral (
  select ended_at from schedule_ticks where name = s.name and runs > 0 and outcome = 'done' and due_at <= clock_timestamp() order by due_at desc limit 1
) as done on true
order by s.place
