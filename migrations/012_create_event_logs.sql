-- Every event that came in, and every event that waits to go out or has gone: log and outbox in one.
-- payload is the event's own; envelope holds every other field around it, and is null for a bare object. seq orders the
-- outgoing events of a key by commit. Partitioned by day on the key, as 002 says.
-- There is no GIN index on payload: it would cost more than everything else on the way of a write, and no query needs it.
create table if not exists event_logs (
  id uuid primary key,
  event_type varchar(100) not null,
  correlation_id uuid,
  session_id uuid,
  direction varchar(3) not null default 'in' check (direction::text in ('in', 'out')),
  topic varchar(255),
  partition_key text,
  payload jsonb not null,
  envelope jsonb,
  metadata jsonb not null default '{}',
  status varchar(20) not null default 'recorded',
  attempts integer not null default 0,
  published_at timestamptz,
  seq bigint,
  created_at timestamptz not null default now()
) partition by range (id);

-- Rows whose day has no partition: old ones, and those without a time.
create table if not exists event_logs_default partition of event_logs default;

-- the events of a workflow
create index if not exists idx_event_logs_correlation_id on event_logs (correlation_id);
-- the events of a session, and the pace between them
create index if not exists idx_event_logs_session_id on event_logs (session_id) where session_id is not null;
-- the latest events of a type
create index if not exists idx_event_logs_type_created_at on event_logs (event_type, created_at desc);
