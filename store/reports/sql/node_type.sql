-- node_type: the type of a node, which says where it stands among all by type and id; by primary key.
-- in:  node_id
-- out: node_type; no row where there is none
select node_type from node_registrations where node_id = %(node_id)s::text
