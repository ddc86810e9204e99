-- The ledger: the id of every operation that was applied or refused, written in the transaction of its effect, so that
-- however often an operation is delivered it counts once. Partitioned by day on the key, as 002 says.
create table if not exists operations (
  operation_id uuid primary key,
  correlation_id uuid,
  claimed_at timestamptz not null default clock_timestamp(),
  operation_type text not null,
  outcome text not null check (outcome in ('applied', 'refused')),
  digest bytea not null,
  code text
) partition by range (operation_id);

-- Operations whose day has no partition: old ones, and those without a time.
create table if not exists operations_default partition of operations default;

-- what was claimed in the last seconds. BRIN: rows come in the order of claimed_at, and this is the busiest table; the
-- newest rows, which are the ones asked for, are only found fast when they are summarised without waiting for a vacuum
create index if not exists idx_operations_claimed_at on operations using brin (claimed_at) with (autosummarize = on);
