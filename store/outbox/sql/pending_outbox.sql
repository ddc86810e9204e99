-- pending_outbox: what waits in these shards, in the order in which it was committed (served by idx_event_logs_outbox).
-- in: shards int[], rows_limit, bytes_limit
-- out: those before which there are less than bytes_limit bytes, so at least one
-- What is stored, perhaps compressed, is counted first: it need not be unpacked for that.
with next as (
  select id, seq, event_type, topic, partition_key, payload, envelope, attempts, created_at
  from event_logs
  where direction = 'out' and status = 'pending' and shard = any(%(shards)s::smallint[])
  order by seq
  limit %(rows_limit)s
)
select id, seq, event_type, topic, partition_key, payload, envelope, attempts, created_at
from (
  select *, sum(bytes) over (order by seq rows between unbounded preceding and 1 preceding) as bytes_before
  from (
    select *, octet_length(payload::text) + coalesce(octet_length(envelope::text), 0) as bytes
    from (
      select *, sum(pg_column_size(payload)) over (order by seq rows between unbounded preceding and 1 preceding) as stored_before
      from next
    ) as small
    where coalesce(stored_before, 0) < %(bytes_limit)s
    order by seq
  ) as measured
) as found
where coalesce(bytes_before, 0) < %(bytes_limit)s
order by seq
