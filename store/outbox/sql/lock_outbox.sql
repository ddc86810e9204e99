-- lock_outbox: append to these shards alone until the transaction ends.   in: class int, shards int[], sorted   out: nothing of use
-- Sorted, and taken after every row lock, so that whoever waits here is waited for by nobody who goes on to wait.
select pg_advisory_xact_lock(%(class)s::integer, shard) from unnest(%(shards)s::integer[]) as shard
