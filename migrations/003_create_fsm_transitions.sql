-- One row per transition of a state machine, written once: the audit trail. Partitioned by day on the key, as 002 says.
-- No foreign key: entities of several types share the table.
create table if not exists fsm_transitions (
  id uuid primary key,
  entity_id uuid not null,
  entity_type varchar(100) not null,
  from_state varchar(50),
  to_state varchar(50) not null,
  transition_event varchar(100) not null,
  transition_data jsonb not null default '{}',
  transition_at timestamptz not null default now(),
  created_at timestamptz not null default now()
) partition by range (id);

-- Rows whose day has no partition: old ones, and those without a time.
create table if not exists fsm_transitions_default partition of fsm_transitions default;

-- the history of an entity, in order; part of a workflow's trace
create index if not exists idx_fsm_transitions_entity on fsm_transitions (entity_type, entity_id, transition_at);
-- transitions into a state (FAILED above all) in a range of time
create index if not exists idx_fsm_transitions_to_state on fsm_transitions (to_state, transition_at desc);
