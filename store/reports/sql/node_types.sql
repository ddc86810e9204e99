-- node_types: the types that nodes have: one step by idx_node_registrations_type_health for each.   out: node_type
with recursive types (node_type) as (
  (select node_type from node_registrations order by node_type limit 1)
  union all
  select (
    select node.node_type from node_registrations as node
    where node.node_type > types.node_type order by node.node_type limit 1)
  from types
  where types.node_type is not null
)
select node_type from types where node_type is not null
