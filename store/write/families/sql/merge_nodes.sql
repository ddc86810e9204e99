-- merge_nodes: what nodes last said of themselves; a node that nobody knows is registered by its heartbeat.
-- in:  rows, a JSON array of {node_id, clocks, last_heartbeat, and what was reported}, at most one per node; clocks as in write_workflows;
--      fresh_for and dead_after, intervals: what a heartbeat's age means at the moment at which it comes.
--      health_status and last_heartbeat belong to one heartbeat and share the clock health_status; a row in which a generic write
--      has set one of them alone has a clock last_heartbeat too, and then each is compared with its own. Only a generic write
--      deregisters, so a row has a clock deregistered_at from then on; a newer heartbeat registers the node again.
insert into node_registrations as held (
  node_id, clocks, health_status, last_heartbeat, heartbeat_received_at, liveness, node_type, node_version, metadata,
  capabilities, endpoints, endpoint_url, namespace)
select
  given.node_id, given.clocks, given.health_status, given.last_heartbeat, now(),
  node_liveness(node_heard(given.last_heartbeat, now(), now()), now(), %(fresh_for)s::interval, %(dead_after)s::interval),
  coalesce(given.node_type, 'unknown'), coalesce(given.node_version, 'unknown'), coalesce(given.metadata, '{}'),
  coalesce(given.capabilities, '{}'), coalesce(given.endpoints, '{}'), given.endpoint_url, given.namespace
from jsonb_to_recordset(%(rows)s::jsonb) as given (
  node_id text, clocks jsonb, health_status text, last_heartbeat timestamptz, node_type text, node_version text,
  metadata jsonb, capabilities jsonb, endpoints jsonb, endpoint_url text, namespace text)
order by given.node_id collate "C"
on conflict (node_id) do update set
  (clocks, health_status, last_heartbeat, heartbeat_received_at, liveness, node_type, node_version, metadata, capabilities,
   endpoints, endpoint_url, namespace, deregistered_at) = (
    select
      held.clocks || won,
      case when won ? 'health_status' then excluded.health_status else held.health_status end,
      case when won ? heard then excluded.last_heartbeat else held.last_heartbeat end,
      case when won ? heard then excluded.heartbeat_received_at else held.heartbeat_received_at end,
      case when won ? heard then excluded.liveness else held.liveness end,
      case when won ? 'node_type' then excluded.node_type else held.node_type end,
      case when won ? 'node_version' then excluded.node_version else held.node_version end,
      case when won ? 'metadata' then excluded.metadata else held.metadata end,
      case when won ? 'capabilities' then excluded.capabilities else held.capabilities end,
      case when won ? 'endpoints' then excluded.endpoints else held.endpoints end,
      case when won ? 'endpoint_url' then excluded.endpoint_url else held.endpoint_url end,
      case when won ? 'namespace' then excluded.namespace else held.namespace end,
      case when won ? 'deregistered_at' then null else held.deregistered_at end
    from (
      select
        coalesce(jsonb_object_agg(key, value), '{}'),
        case when held.clocks ? 'last_heartbeat' then 'last_heartbeat' else 'health_status' end
      from jsonb_each_text(
        case when held.clocks ?| '{last_heartbeat,deregistered_at}'
          then excluded.clocks || jsonb_strip_nulls(jsonb_build_object(
            'last_heartbeat', case when held.clocks ? 'last_heartbeat' then excluded.clocks -> 'health_status' end,
            'deregistered_at', case when held.clocks ? 'deregistered_at' then excluded.clocks -> 'health_status' end))
          else excluded.clocks end)
      where value > coalesce(held.clocks ->> key, '') collate "C") as newer (won, heard)),
  row_version = held.row_version + 1,
  updated_at = now()
