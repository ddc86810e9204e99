-- read_tick: how a tick stands.   in: name, due_at, at   out: its outcome (null: nobody has begun), whether it lies ahead of the database's clock
select (select outcome from schedule_ticks where name = %(name)s::text and due_at = %(due_at)s::timestamptz),
  %(due_at)s::timestamptz > coalesce(%(at)s::timestamptz, clock_timestamp())
