-- What the schedules did: a row for each tick, written in the transactions of its effect, so that however many beats send
-- it and however often it is delivered, a tick takes effect once. See docs/schedules.md.
-- The key also serves "the latest tick of a schedule".
create table if not exists schedule_ticks (
  name varchar(50) not null,
  due_at timestamptz not null,
  outcome text not null check (outcome in ('running', 'done', 'failed')),
  started_at timestamptz not null default clock_timestamp(),
  ended_at timestamptz,
  runs integer not null default 1,
  worked_ms bigint not null default 0,
  rows_touched bigint not null default 0,
  counts jsonb not null default '{}',
  error text,
  ran_by text,
  primary key (name, due_at)
);

-- Rows are removed from the next time of day on that is set for it, not at once because "the last one was missed": there
-- is time to look at what would go. `runs` is 0 in no other row; due_ticks takes what was due before it as done.
insert into schedule_ticks (name, due_at, outcome, runs, ran_by)
select 'retention', now(), 'done', 0, 'migration'
where not exists (select from schedule_ticks where name = 'retention');
