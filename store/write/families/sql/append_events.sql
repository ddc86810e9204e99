-- append_events: consumed events, once each.   in: rows, a JSON array of {operation_id, correlation_id, and the fields of an event}
insert into event_logs (id, event_type, correlation_id, session_id, direction, topic, partition_key, payload, envelope, metadata)
select
  given.operation_id, given.event_type, given.correlation_id, given.session_id, 'in', given.topic, given.partition_key,
  given.payload, given.envelope, case when jsonb_typeof(given.envelope -> 'metadata') = 'object' then given.envelope -> 'metadata' else '{}' end
from jsonb_to_recordset(%(rows)s::jsonb) as given (
  operation_id uuid, correlation_id uuid, event_type text, session_id uuid, topic text, partition_key text, payload jsonb, envelope jsonb)
order by given.operation_id
on conflict (id) do nothing
