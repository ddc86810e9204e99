-- What it takes to end in the same row whatever the order of arrival. No model and no query shows the clocks.

-- clocks: for each field, when its value was said; the greatest wins
alter table workflow_executions
  add column if not exists clocks jsonb not null default '{}';

-- contributed_*: what was added to the totals beside the snapshot, which replaces the rest of the row
alter table bridge_states
  add column if not exists contributed_workflows_processed bigint not null default 0,
  add column if not exists contributed_items_aggregated bigint not null default 0,
  add column if not exists contributed_size_bytes bigint not null default 0,
  add column if not exists clocks jsonb not null default '{}';

-- liveness: what the fleet concludes from a node's silence, apart from what the node reports
alter table node_registrations
  add column if not exists liveness varchar(10) not null default 'FRESH'
    check (liveness::text in ('FRESH', 'STALE', 'DEAD')),
  add column if not exists clocks jsonb not null default '{}';
