-- node: one node, deregistered or not; by primary key.
-- in:  node_id, row_bytes (of its text), fresh_for and dead_after (intervals), at (null: the database's now)
-- out: the node (JSON; see row_within): its columns, `liveness` as of now, health (effective), reported_health, age_s;
-- no row where there is none
select
  row_within(to_jsonb(node) - '{clocks,liveness_announced}'::text[] || jsonb_build_object(
    'liveness', found.liveness, 'health', node_health(node.health_status, found.liveness),
    'reported_health', node.health_status, 'age_s', greatest(extract(epoch from asked.at - found.heard), 0)),
    %(row_bytes)s::bigint) as item
from (select coalesce(%(at)s::timestamptz, clock_timestamp())) as asked (at)
cross join node_registrations as node
cross join lateral (
  select heard, node_liveness(heard, asked.at, %(fresh_for)s::interval, %(dead_after)s::interval)
  from (select node_heard(node.last_heartbeat, node.heartbeat_received_at, node.registered_at)) as one (heard)
) as found (heard, liveness)
where node.node_id = %(node_id)s::text
