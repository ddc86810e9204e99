-- undone_for: for how long no tick of a schedule was done.   in: name   out: seconds since the due_at of the last that was, else of the first; 0 for none
-- Ticks ahead of the clock do not count: it was wrong when they ran, and is right again.
select coalesce(extract(epoch from clock_timestamp() - coalesce(
  (select due_at from schedule_ticks where name = %(name)s::text and outcome = 'done' and due_at <= clock_timestamp() order by due_at desc limit 1),
  (select due_at from schedule_ticks where name = %(name)s::text and due_at <= clock_timestamp() order by due_at limit 1)
)), 0)::double precision
