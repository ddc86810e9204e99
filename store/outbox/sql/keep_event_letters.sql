-- keep_event_letters: events that the bus refused, one letter an event: refused again, it is open again.
-- in: rows, a JSON array as that of keep_dead_letters
insert into dead_letters (id, digest, operation_type, correlation_id, code, message, payload, form, source, topic, partition_key)
select
  given.id, decode(given.digest, 'hex'), given.operation_type, given.correlation_id, given.code, given.message, given.payload,
  given.form, given.source, given.topic, given.partition_key
from json_to_recordset(%(rows)s::json) as given (
  id uuid, digest text, operation_type text, correlation_id uuid, code text, message text, payload text, form text,
  source text, topic text, partition_key text)
order by given.id, given.digest
on conflict (id, digest) do update set
  code = excluded.code, message = excluded.message, payload = excluded.payload, topic = excluded.topic,
  partition_key = excluded.partition_key, status = 'open', resolved_at = null
