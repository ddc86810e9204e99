-- How long nodes have been silent, and which of them are there. One meaning for all statements, in three functions; they
-- are of one expression each and need nothing, so that PostgreSQL writes them out where they are called.

-- heartbeat_received_at: when the heartbeat came that last_heartbeat is of; null where nobody noted it
-- liveness_announced: what the bus knows of liveness
-- namespace: null where the node never told one
-- deregistered_at: null while the node is registered
alter table node_registrations
  add column if not exists heartbeat_received_at timestamptz,
  add column if not exists liveness_announced varchar(10) not null default 'FRESH'
    check (liveness_announced::text in ('FRESH', 'STALE', 'DEAD')),
  add column if not exists namespace varchar(255),
  add column if not exists deregistered_at timestamptz;

-- When a node was heard of last: the earlier of what its heartbeat says and when that came; else when it was registered.
create or replace function node_heard(last_heartbeat timestamptz, received timestamptz, registered timestamptz)
returns timestamptz
language sql immutable parallel safe
as $$ select coalesce(least(last_heartbeat, received), registered) $$;

-- What a node's silence means at an instant. Both bounds belong to the better side.
create or replace function node_liveness(heard timestamptz, at timestamptz, fresh_for interval, dead_after interval)
returns text
language sql immutable parallel safe
as $$ select case when at - heard <= fresh_for then 'FRESH' when at - heard <= dead_after then 'STALE' else 'DEAD' end $$;

-- How a node is, what it reported and its silence taken together.
create or replace function node_health(reported text, liveness text) returns text
language sql immutable parallel safe
as $$ select case liveness when 'FRESH' then reported when 'STALE' then 'DEGRADED' else 'UNHEALTHY' end $$;
