-- Operations that PostgreSQL failed at while it took others, with how often: each is tried again a few times, whoever
-- does it, and is then set aside as a dead letter. See docs/ledger.md. Written where something failed only; what was not
-- touched for a week goes by the statement that writes it (store/write/sql/note_attempts.sql).
-- scope: whether it was the row, its table, or a lock that was not had.
create table if not exists operation_attempts (
  operation_id uuid primary key,
  operation_type text not null,
  scope text not null check (scope in ('row', 'table', 'lock')),
  attempts integer not null default 1,
  reason text not null,
  first_at timestamptz not null default clock_timestamp(),
  last_at timestamptz not null default clock_timestamp()
);

-- what may go, and since when a table has failed
create index if not exists idx_operation_attempts_last_at on operation_attempts (last_at);
