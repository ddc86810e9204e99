-- report_healthy_nodes: who may be called, by type and id; by idx_node_registrations_type_health.
-- in:  types text[], max_age interval (of the heartbeat), rows_limit, bytes_limit (of the rows as text)
-- out: one node a row (JSON)
select item
from (
  select item, place, sum(octet_length(item::text)) over (order by place) as bytes
  from (
    select to_jsonb(node) - 'clocks' as item, row_number() over (order by node_type, node_id) as place
    from node_registrations as node
    where node_type = any(%(types)s::text[]) and health_status = 'HEALTHY' and last_heartbeat > now() - %(max_age)s::interval
    order by node_type, node_id
    limit %(rows_limit)s::integer
  ) as first
) as measured
where bytes <= %(bytes_limit)s::bigint
order by place
