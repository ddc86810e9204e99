-- unlock_schedule: let others work on it.   in: class, key   out: whether it was ours
select pg_advisory_unlock(%(class)s::integer, %(key)s::integer)
