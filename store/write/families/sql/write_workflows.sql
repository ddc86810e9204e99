-- write_workflows: open every workflow that a batch touches, told or only mentioned, and fold what it tells into those that stood.
-- in:  rows, a JSON array of {correlation_id, clocks, started_at, and the other columns that were given}; those only mentioned have a
--      correlation_id and no more. `clocks` says, for each field given, when it was said (a text that sorts as (occurred_at,
--      operation_id); the state's has its rank in front; a metadata key's is under "metadata.<key>"). A field takes the
--      value with the greatest clock; started_at is the earliest. Where a generic write has replaced metadata as a whole, the row
--      has a clock "metadata" too, and a key has to be newer than that as well. Where a reported end takes the place of one
--      that the fleet concluded (a state's clock from 2~ on, below 4), what was concluded beside it, without clocks, goes too.
--      metadata, which grows key by key, has a bound: what would leave it with more than 1 MiB of text, and with more than before,
--      fails with 22P02 and, in its message, what `refusal_message` tells (store/database/errors.py). What jsonb takes in
--      memory is asked first: it costs nothing, and text of that size takes at least a tenth of it.
--      stalled_at becomes null, but not while the workflow stays given up: FAILED by a policy.
-- Both inserts go by correlation id, and the second waits for all of the first: two sorted passes that overlapped could wait for
-- each other in a circle. The first has no conflict target, since both the primary key and the correlation id may stand
-- already; the second meets only rows that stood. A workflow whose id is taken by another gets an id of its own.
with given as materialized (
  select
    t.*,
    t.clocks is not null as told
  from jsonb_to_recordset(%(rows)s::jsonb) as t (
    correlation_id uuid, clocks jsonb, current_state text, started_at timestamptz, workflow_type text, namespace text,
    completed_at timestamptz, execution_time_ms integer, error_message text, metadata jsonb, stamp_id text, file_hash text,
    session_id uuid, workflow_id uuid, workflow_steps jsonb, workflow_steps_executed integer,
    hash_generation_time_ms integer, intelligence_data jsonb, input_data jsonb, output_data jsonb, error_info jsonb)
  order by t.correlation_id
),
opened as materialized (
  insert into workflow_executions (
    id, correlation_id, clocks, current_state, started_at, workflow_type, namespace, completed_at, execution_time_ms,
    error_message, metadata, stamp_id, file_hash, session_id, workflow_id, workflow_steps, workflow_steps_executed,
    hash_generation_time_ms, intelligence_data, input_data, output_data, error_info)
  select
    given.correlation_id, given.correlation_id, coalesce(clocks, '{}'), coalesce(current_state, 'PENDING'), started_at,
    coalesce(workflow_type, 'unknown'), coalesce(namespace, 'unknown'), completed_at, execution_time_ms, error_message,
    case when pg_column_size(metadata) > 100000 and octet_length(metadata::text) > 1048576
      then to_jsonb(format('refused: metadata: the row would have more than %%s bytes', 1048576)::uuid)
      else coalesce(metadata, '{}') end,
    stamp_id, file_hash, session_id, workflow_id, coalesce(workflow_steps, '[]'),
    coalesce(workflow_steps_executed, 0), hash_generation_time_ms, intelligence_data, coalesce(input_data, '{}'),
    coalesce(output_data, '{}'), coalesce(error_info, '{}')
  from given
  order by given.correlation_id
  on conflict do nothing
  returning correlation_id
)
insert into workflow_executions as held (
  id, correlation_id, clocks, current_state, started_at, workflow_type, namespace, completed_at, execution_time_ms,
  error_message, metadata, stamp_id, file_hash, session_id, workflow_id, workflow_steps, workflow_steps_executed,
  hash_generation_time_ms, intelligence_data, input_data, output_data, error_info)
select
  case when exists (
    select 1 from workflow_executions as other
    where other.id = given.correlation_id and other.correlation_id <> given.correlation_id)
    then uuid_v7() else given.correlation_id end,
  given.correlation_id, given.clocks, current_state, started_at, coalesce(workflow_type, 'unknown'), coalesce(namespace, 'unknown'),
  completed_at, execution_time_ms, error_message, coalesce(metadata, '{}'), stamp_id, file_hash, session_id, workflow_id,
  coalesce(workflow_steps, '[]'), coalesce(workflow_steps_executed, 0), hash_generation_time_ms, intelligence_data,
  coalesce(input_data, '{}'), coalesce(output_data, '{}'), coalesce(error_info, '{}')
from given
where given.told and given.correlation_id not in (select opened.correlation_id from opened)
order by given.correlation_id
on conflict (correlation_id) do update set
  (clocks, current_state, workflow_type, namespace, completed_at, execution_time_ms, error_message, metadata, stamp_id,
   file_hash, session_id, workflow_id, workflow_steps, workflow_steps_executed, hash_generation_time_ms,
   intelligence_data, input_data, output_data, error_info, stalled_at) = (
    select
      held.clocks || won,
      case when won ? 'current_state' then excluded.current_state else held.current_state end,
      case when won ? 'workflow_type' then excluded.workflow_type else held.workflow_type end,
      case when won ? 'namespace' then excluded.namespace else held.namespace end,
      case when won ? 'completed_at' then excluded.completed_at
        when won ? 'current_state' and (held.clocks ->> 'current_state') collate "C" between '2~' and '4'
          and not held.clocks ? 'completed_at' then null
        else held.completed_at end,
      case when won ? 'execution_time_ms' then excluded.execution_time_ms else held.execution_time_ms end,
      case when won ? 'error_message' then excluded.error_message
        when won ? 'current_state' and (held.clocks ->> 'current_state') collate "C" between '2~' and '4'
          and not held.clocks ? 'error_message' then null
        else held.error_message end,
      case when excluded.metadata = '{}' then held.metadata else (
        select case when pg_column_size(merged) > 100000
            and octet_length(merged::text) > greatest(1048576, octet_length(held.metadata::text))
          then to_jsonb(format('refused: metadata: the row would have more than %%s bytes', 1048576)::uuid) else merged end
        from (
          select held.metadata || coalesce(
            (select jsonb_object_agg(key, value) from jsonb_each(excluded.metadata) where won ? ('metadata.' || key)), '{}')
          offset 0) as whole (merged)) end,
      case when won ? 'stamp_id' then excluded.stamp_id else held.stamp_id end,
      case when won ? 'file_hash' then excluded.file_hash else held.file_hash end,
      case when won ? 'session_id' then excluded.session_id else held.session_id end,
      case when won ? 'workflow_id' then excluded.workflow_id else held.workflow_id end,
      case when won ? 'workflow_steps' then excluded.workflow_steps else held.workflow_steps end,
      case when won ? 'workflow_steps_executed' then excluded.workflow_steps_executed else held.workflow_steps_executed end,
      case when won ? 'hash_generation_time_ms' then excluded.hash_generation_time_ms else held.hash_generation_time_ms end,
      case when won ? 'intelligence_data' then excluded.intelligence_data else held.intelligence_data end,
      case when won ? 'input_data' then excluded.input_data else held.input_data end,
      case when won ? 'output_data' then excluded.output_data else held.output_data end,
      case when won ? 'error_info' then excluded.error_info else held.error_info end,
      case when held.stalled_at is not null and held.current_state = 'FAILED' and not won ? 'current_state'
        then held.stalled_at end
    from (
      select coalesce(jsonb_object_agg(key, value), '{}')
      from jsonb_each_text(excluded.clocks)
      where value > coalesce(held.clocks ->> key, '') collate "C"
        and (not key ^@ 'metadata.' or value > coalesce(held.clocks ->> 'metadata', '') collate "C")) as newer (won)),
  started_at = least(held.started_at, excluded.started_at),
  row_version = held.row_version + 1,
  updated_at = now()
