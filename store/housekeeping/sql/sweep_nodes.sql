-- sweep_nodes: bring liveness and liveness_announced to what a node's silence means now, in the order of node_id.
-- in:  at, fresh_for, dead_after; after, the node_id that the portion before ended with, '' at first; rows_limit
-- out: of each row that was changed: node_id, node_type, namespace, last_heartbeat, what was announced and what is now, the health
--      that goes with each, age_s; and the last node_id of them all
-- Locked rows are left to the next sweep: heartbeats lock nodes in another order, so to wait for them could be to wait in a circle.
-- A row that changed until it was locked is judged again as it is then. row_version and updated_at stay: nobody's data changed.
with due as materialized (
  select
    node_id, node_type, namespace, last_heartbeat, health_status, liveness_announced as old,
    node_liveness(
      node_heard(last_heartbeat, heartbeat_received_at, registered_at),
      %(at)s::timestamptz, %(fresh_for)s::interval, %(dead_after)s::interval) as new,
    %(at)s::timestamptz - node_heard(last_heartbeat, heartbeat_received_at, registered_at) as age
  from node_registrations
  where node_id > %(after)s
    and deregistered_at is null
    and (
      liveness <> liveness_announced
      or liveness <> node_liveness(
        node_heard(last_heartbeat, heartbeat_received_at, registered_at),
        %(at)s::timestamptz, %(fresh_for)s::interval, %(dead_after)s::interval))
  order by node_id
  limit %(rows_limit)s
  for no key update skip locked)
update node_registrations as held set liveness = due.new, liveness_announced = due.new
from due
where held.node_id = due.node_id
returning
  due.node_id, due.node_type, due.namespace, due.last_heartbeat, due.old, due.new, node_health(due.health_status, due.old),
  node_health(due.health_status, due.new), extract(epoch from due.age)::double precision,
  (select node_id from due order by node_id desc limit 1)
