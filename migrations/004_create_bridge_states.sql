-- The aggregate of a bridge in a namespace. The key is both: one bridge reports on several namespaces.
-- Totals are bigint: they only grow. fillfactor: every row is written again and again.
create table if not exists bridge_states (
  bridge_id uuid,
  namespace varchar(255),
  total_workflows_processed bigint not null default 0 check (total_workflows_processed >= 0),
  total_items_aggregated bigint not null default 0 check (total_items_aggregated >= 0),
  aggregation_metadata jsonb not null default '{}',
  current_fsm_state varchar(50) not null,
  last_aggregation_timestamp timestamptz,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  primary key (bridge_id, namespace)
) with (fillfactor = 70);

-- the bridges of a namespace, and those of them in a state
create index if not exists idx_bridge_states_namespace_state on bridge_states (namespace, current_fsm_state);
