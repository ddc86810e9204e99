-- late_schedules: schedules with a tick that has been due for two periods or more and is not done.
-- in: names text[], periods_s, at   out, in the order of the names: name, seconds since the tick was due, due_at of the last that is done
-- Ticks ahead of the clock do not count: it was wrong when they ran, and is right again.
-- The tick after the last that is done is the one that waits. Where none ever was, schedules began with the first tick of any of them.
select given.name, floor(extract(epoch from %(at)s::timestamptz - since.due_at) - given.period_s)::bigint, done.due_at
from unnest(%(names)s::text[], %(periods_s)s::double precision[]) with ordinality as given (name, period_s, place)
cross join lateral (
  select max(due_at) as due_at from schedule_ticks as tick where tick.name = given.name and tick.outcome = 'done'
    and tick.due_at <= %(at)s::timestamptz
) as done
cross join lateral (
  select coalesce(done.due_at, (select min(due_at) from schedule_ticks)) as due_at
) as since
where since.due_at <= %(at)s::timestamptz - 3 * given.period_s * interval '1 second'
order by given.place
