-- remove_nodes: nodes that were deregistered, or from which no heartbeat came, long ago.
-- in: cut, rows_limit   out: rows removed, and that number again, null, null: as many as rows_limit means that there may be more
with locked as materialized (
  select node_id from node_registrations as held where greatest(held.deregistered_at, held.registered_at, coalesce(held.heartbeat_received_at, held.last_heartbeat)) < %(cut)s::timestamptz
  order by node_id
  limit %(rows_limit)s::bigint
  for update of held skip locked
),
gone as (
  delete from node_registrations as held using locked where (held.node_id) = (locked.node_id) returning 1
)
select count(*), count(*), null::timestamptz, null::uuid from gone
