-- fold_bridge_states: some bridge states, as in fold_workflows.   in: bridge_id, namespace, two arrays of equal length
select
  held.bridge_id, held.namespace, held.total_workflows_processed, held.total_items_aggregated, held.aggregation_metadata,
  held.current_fsm_state, held.last_aggregation_timestamp, held.total_size_bytes, held.unique_file_types, held.unique_workflows,
  held.aggregation_type, held.window_start, held.window_end, held.aggregation_duration_ms, held.items_per_second, held.version,
  held.configuration, held.node_type, held.correlation_id, held.state_data, held.metadata,
  held.contributed_workflows_processed, held.contributed_items_aggregated, held.contributed_size_bytes
from unnest(%(bridge_id)s::uuid[], %(namespace)s::text[]) as given (bridge_id, namespace)
join bridge_states as held on held.bridge_id = given.bridge_id and held.namespace = given.namespace
