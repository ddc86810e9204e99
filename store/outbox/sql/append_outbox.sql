-- append_outbox: events that wait to go out, once each, in the order of their rows.
-- in: rows, a JSON array of {id, event_type, topic, partition_key, shard, correlation_id, session_id, payload, envelope}
-- The shards' locks must be held: seq is taken here, and has to be the order of commit within a shard. PostgreSQL takes it
-- after sorting, row by row.
insert into event_logs (
  id, event_type, correlation_id, session_id, direction, topic, partition_key, shard, payload, envelope, metadata, status, seq)
select
  given.id, given.event_type, given.correlation_id, given.session_id, 'out', given.topic, given.partition_key, given.shard,
  given.payload, given.envelope, coalesce(given.envelope -> 'metadata', '{}'), 'pending', nextval('event_logs_seq')
from jsonb_to_recordset(%(rows)s::jsonb) as given (
  position integer, id uuid, event_type text, correlation_id uuid, session_id uuid, topic text, partition_key text, shard smallint,
  payload jsonb, envelope jsonb)
order by given.position
on conflict (id) do nothing
