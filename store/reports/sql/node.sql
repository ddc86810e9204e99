-- node: one node, deregistered or not; by primary key.
-- in:  node_id, row_bytes (of its text), fresh_for and dead_after (intervals), at (null: the database's now)
-- out: the node (JSON; see node_item); no row where there is none
select node_item(
  node, coalesce(%(at)s::timestamptz, clock_timestamp()), %(fresh_for)s::interval, %(dead_after)s::interval,
  %(row_bytes)s::bigint) as item
from node_registrations as node
where node.node_id = %(node_id)s::text
