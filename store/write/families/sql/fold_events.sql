-- fold_events: the consumed events of some ids, as in fold_workflows.   in: id, an array
select
  id, event_type, correlation_id, session_id, direction, topic, partition_key, payload, envelope, metadata
from event_logs
where id = any(%(id)s::uuid[])
