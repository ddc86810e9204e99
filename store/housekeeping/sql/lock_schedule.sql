-- lock_schedule: be the only one who works on a schedule, for as long as the session lasts.   in: class, key   out: whether we are
select pg_try_advisory_lock(%(class)s::integer, %(key)s::integer)
