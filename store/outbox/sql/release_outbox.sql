-- release_outbox: let others publish from these shards.   in: class int, shards int[]   out: nothing of use
select pg_advisory_unlock(%(class)s::integer, shard) from unnest(%(shards)s::integer[]) as shard
