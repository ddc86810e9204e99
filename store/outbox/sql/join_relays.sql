-- join_relays: be counted among the relays until the connection ends.   in: class int, name int   out: one empty value
-- Shared, so that nobody waits for anybody.
select pg_advisory_lock_shared(%(class)s::integer, %(name)s::integer)
