-- fold_nodes: some nodes, as in fold_workflows.   in: node_id, an array
select
  node_id, node_type, node_version, metadata, capabilities, endpoints, endpoint_url, namespace,
  health_status, last_heartbeat, deregistered_at
from node_registrations
where node_id = any(%(node_id)s::text[])
