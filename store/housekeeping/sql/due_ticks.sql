-- due_ticks: the newest due tick of each schedule, and how it stands.   in: names, periods_s, offsets_s (seconds from midnight UTC), at
-- out, in the order of the names: name, due_at, outcome (null: nobody has begun), seconds until the next is due
-- What was due before the schedule existed (a row with runs = 0, see migration 022) counts as done, but not while
-- that time lies ahead: the clock was wrong when the migration ran, and nothing is to wait for it.
-- Ticks lie on a grid that begins with 1970, so that all who ask agree without knowing of each other.
with clock as materialized (
  select extract(epoch from coalesce(%(at)s::timestamptz, clock_timestamp())) as now_s
), newest as (
  select s.name, s.period_s, s.place, clock.now_s, floor((clock.now_s - s.offset_s) / s.period_s) * s.period_s + s.offset_s as due_s
  from clock, unnest(%(names)s::text[], %(periods_s)s::numeric[], %(offsets_s)s::numeric[]) with ordinality
    as s(name, period_s, offset_s, place)
)
select n.name, to_timestamp(n.due_s),
  coalesce(t.outcome, case when exists (
    select from schedule_ticks as began where began.name = n.name and began.due_at > to_timestamp(n.due_s) and began.runs = 0
      and began.due_at <= to_timestamp(n.now_s)
  ) then 'done' end),
  (n.due_s + n.period_s - n.now_s)::double precision
from newest as n
left join schedule_ticks as t on t.name = n.name and t.due_at = to_timestamp(n.due_s)
order by n.place
