-- requeue_event: an event that the bus refused goes out again, behind everything of its shard; one whose row is gone, anew.
-- in: rows as those of append_outbox, one   out: its id, or nothing when it is not a refused event
-- The shard's lock must be held.
insert into event_logs as event (
  id, event_type, correlation_id, session_id, direction, topic, partition_key, shard, payload, envelope, metadata, status, seq)
select
  given.id, given.event_type, given.correlation_id, given.session_id, 'out', given.topic, given.partition_key, given.shard,
  given.payload, given.envelope, coalesce(given.envelope -> 'metadata', '{}'), 'pending', nextval('event_logs_seq')
from jsonb_to_recordset(%(rows)s::jsonb) as given (
  id uuid, event_type text, correlation_id uuid, session_id uuid, topic text, partition_key text, shard smallint,
  payload jsonb, envelope jsonb)
on conflict (id) do update set
  event_type = excluded.event_type, correlation_id = excluded.correlation_id, topic = excluded.topic,
  partition_key = excluded.partition_key, shard = excluded.shard, payload = excluded.payload, envelope = excluded.envelope,
  metadata = excluded.metadata, status = 'pending', seq = excluded.seq
  where event.direction = 'out' and event.status = 'refused'
returning event.id
