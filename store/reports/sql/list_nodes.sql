-- list_nodes: nodes in the order of their ids, whatever they are at; along the primary key from where the last answer ended.
-- in:  after (a node id, or '': from the start); node_type, namespace, liveness, health (each null: any); include_deregistered;
--      fresh_for and dead_after (intervals), at (null: the database's now), rows_limit; row_bytes and bytes_limit (of a row, of all, as text)
-- out: one node a row (JSON; see node_item: none is left out because it is large), and how many there are, or more than rows_limit
select item, there
from (
  select item, place, count(*) over () as there, sum(octet_length(item::text)) over (order by place) as bytes
  from (
    select
      node_item(node, asked.at, %(fresh_for)s::interval, %(dead_after)s::interval, %(row_bytes)s::bigint) as item,
      row_number() over (order by node.node_id) as place
    from (select coalesce(%(at)s::timestamptz, clock_timestamp())) as asked (at)
    cross join node_registrations as node
    cross join lateral (
      select heard, node_liveness(heard, asked.at, %(fresh_for)s::interval, %(dead_after)s::interval)
      from (select node_heard(node.last_heartbeat, node.heartbeat_received_at, node.registered_at)) as one (heard)
    ) as found (heard, liveness)
    where node.node_id > %(after)s::text
      and (%(node_type)s::text is null or node.node_type = %(node_type)s::text)
      and (%(namespace)s::text is null or node.namespace = %(namespace)s::text)
      and (%(liveness)s::text is null or found.liveness = %(liveness)s::text)
      and (%(health)s::text is null or node_health(node.health_status, found.liveness) = %(health)s::text)
      and (%(include_deregistered)s::boolean or node.deregistered_at is null)
    order by node.node_id
    limit %(rows_limit)s::integer + 1
  ) as present
) as measured
where place <= %(rows_limit)s::integer and bytes <= %(bytes_limit)s::bigint
order by place
