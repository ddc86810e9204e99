-- pending_outbox_without: as pending_outbox, but for some topics, whose backlog is not looked at, however long it is (served by
-- idx_event_logs_outbox_by_topic: that every pending row goes out is not said, else it might go by the other index).
-- in: without text[], the topics; shards int[], rows_limit
with recursive topics (topic) as (
  (select topic from event_logs where status = 'pending' order by topic limit 1)
  union all
  select (
    select later.topic from event_logs as later where later.status = 'pending' and later.topic > topics.topic
    order by later.topic limit 1
  )
  from topics where topics.topic is not null
)
select found.*
from topics cross join lateral (
  select id, seq, event_type, topic, partition_key, payload, envelope, attempts, created_at
  from event_logs
  where status = 'pending' and topic = topics.topic and shard = any(%(shards)s::smallint[])
  order by seq
  limit %(rows_limit)s
) as found
where topics.topic <> all(%(without)s::text[])
order by found.seq
limit %(rows_limit)s
