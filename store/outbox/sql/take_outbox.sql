-- take_outbox: publish from these shards alone until they are released or the connection ends.
-- in: class int, shards int[]   out: those that nobody else holds
select shard from unnest(%(shards)s::integer[]) as shard where pg_try_advisory_lock(%(class)s::integer, shard)
