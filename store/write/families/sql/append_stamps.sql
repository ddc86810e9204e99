-- append_stamps: one row per stamp, once.   in: rows, a JSON array of {operation_id, occurred_at, and the fields of a stamp}
-- workflow_id as in append_steps; a stamp may have none.
insert into metadata_stamps (
  id, workflow_id, file_hash, stamp_id, stamp_data, namespace, created_at, file_metadata, intelligence_data, metadata_version)
select
  given.operation_id,
  coalesce((select workflow.id from workflow_executions as workflow where workflow.correlation_id = given.workflow_id), given.workflow_id),
  given.file_hash, given.stamp_id, given.stamp_data, coalesce(given.namespace, 'unknown'),
  coalesce(given.created_at, given.occurred_at), coalesce(given.file_metadata, '{}'),
  coalesce(given.intelligence_data, '{}'), coalesce(given.metadata_version, '0.1')
from jsonb_to_recordset(%(rows)s::jsonb) as given (
  operation_id uuid, occurred_at timestamptz, workflow_id uuid, file_hash text, stamp_id text, stamp_data jsonb,
  namespace text, created_at timestamptz, file_metadata jsonb, intelligence_data jsonb, metadata_version text)
order by given.operation_id
on conflict (id) do nothing
