-- pending_outbox: what waits in these shards, in the order in which it was committed (served by idx_event_logs_outbox).
-- in: shards int[], rows_limit
select id, seq, event_type, topic, partition_key, payload, envelope, attempts, created_at
from event_logs
where direction = 'out' and status = 'pending' and shard = any(%(shards)s::smallint[])
order by seq
limit %(rows_limit)s
