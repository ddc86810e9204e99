-- namespace_bridges: what the bridges of a namespace have added up; by idx_bridge_states_namespace_state.
-- in:  namespace   out: JSON {bridges, total_workflows_processed, total_items_aggregated, total_size_bytes}
select jsonb_build_object(
  'bridges', count(*),
  'total_workflows_processed', coalesce(sum(total_workflows_processed), 0),
  'total_items_aggregated', coalesce(sum(total_items_aggregated), 0),
  'total_size_bytes', coalesce(sum(total_size_bytes), 0))
from bridge_states
where namespace = %(namespace)s::text
