-- What each node last said of itself: registry and health. fillfactor: one heartbeat after the other rewrites a row.
create table if not exists node_registrations (
  node_id varchar(255) primary key,
  node_type varchar(100) not null default 'unknown',
  node_version varchar(50) not null default 'unknown',
  capabilities jsonb not null default '{}',
  endpoints jsonb not null default '{}',
  metadata jsonb not null default '{}',
  health_status varchar(50) not null default 'UNKNOWN',
  last_heartbeat timestamptz,
  registered_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
) with (fillfactor = 50);

-- service discovery: the nodes of a type, and the healthy ones among them
create index if not exists idx_node_registrations_type_health on node_registrations (node_type, health_status);
