-- Undoes 023: the functions and the columns, with what is in them; liveness stays as it was last set.
drop function if exists node_health(text, text);
drop function if exists node_liveness(timestamptz, timestamptz, interval, interval);
drop function if exists node_heard(timestamptz, timestamptz, timestamptz);

alter table if exists node_registrations
  drop column if exists deregistered_at,
  drop column if exists namespace,
  drop column if exists liveness_announced,
  drop column if exists heartbeat_received_at;
