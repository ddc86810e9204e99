-- replace_bridge_states: the newest snapshot of a bridge replaces the row whole; what was contributed stays on top of its totals.
-- in:  rows, a JSON array of {clock, and the fields of a bridge state}, at most one per (bridge_id, namespace); `clock` sorts as
--      (last_aggregation_timestamp, else occurred_at; operation_id)
insert into bridge_states as held (
  bridge_id, namespace, clocks, current_fsm_state, total_workflows_processed, total_items_aggregated, aggregation_metadata,
  last_aggregation_timestamp, total_size_bytes, unique_file_types, unique_workflows, aggregation_type, window_start,
  window_end, aggregation_duration_ms, items_per_second, version, configuration, node_type, correlation_id, state_data, metadata)
select
  given.bridge_id, given.namespace, jsonb_build_object('snapshot', given.clock), given.current_fsm_state,
  coalesce(given.total_workflows_processed, 0), coalesce(given.total_items_aggregated, 0),
  coalesce(given.aggregation_metadata, '{}'), given.last_aggregation_timestamp, coalesce(given.total_size_bytes, 0),
  coalesce(given.unique_file_types, '{}'), coalesce(given.unique_workflows, '{}'),
  coalesce(given.aggregation_type, 'namespace_grouping'), given.window_start, given.window_end,
  given.aggregation_duration_ms, given.items_per_second, coalesce(given.version, 1), coalesce(given.configuration, '{}'),
  given.node_type, given.correlation_id, coalesce(given.state_data, '{}'), coalesce(given.metadata, '{}')
from jsonb_to_recordset(%(rows)s::jsonb) as given (
  clock text, bridge_id uuid, namespace text, current_fsm_state text, total_workflows_processed bigint,
  total_items_aggregated bigint, aggregation_metadata jsonb, last_aggregation_timestamp timestamptz, total_size_bytes bigint,
  unique_file_types text[], unique_workflows uuid[], aggregation_type text, window_start timestamptz, window_end timestamptz,
  aggregation_duration_ms integer, items_per_second numeric, version integer, configuration jsonb, node_type text,
  correlation_id uuid, state_data jsonb, metadata jsonb)
order by given.bridge_id, given.namespace
on conflict (bridge_id, namespace) do update set
  clocks = held.clocks || excluded.clocks,
  current_fsm_state = excluded.current_fsm_state,
  total_workflows_processed = excluded.total_workflows_processed + held.contributed_workflows_processed,
  total_items_aggregated = excluded.total_items_aggregated + held.contributed_items_aggregated,
  aggregation_metadata = excluded.aggregation_metadata,
  last_aggregation_timestamp = excluded.last_aggregation_timestamp,
  total_size_bytes = excluded.total_size_bytes + held.contributed_size_bytes,
  unique_file_types = excluded.unique_file_types,
  unique_workflows = excluded.unique_workflows,
  aggregation_type = excluded.aggregation_type,
  window_start = excluded.window_start,
  window_end = excluded.window_end,
  aggregation_duration_ms = excluded.aggregation_duration_ms,
  items_per_second = excluded.items_per_second,
  version = excluded.version,
  configuration = excluded.configuration,
  node_type = excluded.node_type,
  correlation_id = excluded.correlation_id,
  state_data = excluded.state_data,
  metadata = excluded.metadata,
  updated_at = now()
where excluded.clocks ->> 'snapshot' > coalesce(held.clocks ->> 'snapshot', '') collate "C"
