-- healthy_nodes: who may be called, by type and id; by idx_node_registrations_type_health. How long ago a node was heard of is
-- computed here and now: what the last sweep wrote into the column `liveness` may be older than the question.
-- in:  types text[], namespace (null: any), max_age interval (since the node was heard of), fresh_for and dead_after (intervals),
--      at (null: the database's now), after_type and after (both '': from the start; a node's type and id: behind it), rows_limit;
--      row_bytes and bytes_limit (of a row, of all, as text)
-- out: as list_nodes
select item, there
from (
  select item, place, count(*) over () as there, sum(octet_length(item::text)) over (order by place) as bytes
  from (
    select
      node_item(node, asked.at, %(fresh_for)s::interval, %(dead_after)s::interval, %(row_bytes)s::bigint) as item,
      row_number() over (order by node.node_type, node.node_id) as place
    from (select coalesce(%(at)s::timestamptz, clock_timestamp())) as asked (at)
    cross join node_registrations as node
    cross join lateral (
      select heard, node_liveness(heard, asked.at, %(fresh_for)s::interval, %(dead_after)s::interval)
      from (select node_heard(node.last_heartbeat, node.heartbeat_received_at, node.registered_at)) as one (heard)
    ) as found (heard, liveness)
    where node.node_type = any(%(types)s::text[]) and node.health_status = 'HEALTHY' and node.deregistered_at is null
      and (%(namespace)s::text is null or node.namespace = %(namespace)s::text)
      and found.liveness = 'FRESH' and asked.at - found.heard <= %(max_age)s::interval
      and (node.node_type, node.node_id) > (%(after_type)s::text, %(after)s::text)
    order by node.node_type, node.node_id
    limit %(rows_limit)s::integer + 1
  ) as present
) as measured
where place <= %(rows_limit)s::integer and bytes <= %(bytes_limit)s::bigint
order by place
