-- The state that each state machine is in, folded from its transitions: what recovery reads.
-- clock says when the state was said; it is compared as text, byte by byte, hence the collation.
create table if not exists fsm_states (
  entity_type varchar(100),
  entity_id uuid,
  current_state varchar(50) not null,
  previous_state varchar(50),
  transition_count bigint not null check (transition_count >= 0),
  last_transition_at timestamptz not null,
  updated_at timestamptz not null default now(),
  clock text collate "C" not null,
  primary key (entity_type, entity_id)
) with (fillfactor = 80);

-- recovery: the machines of a type that moved in the last days, newest first
create index if not exists idx_fsm_states_type_last_transition_at on fsm_states (entity_type, last_transition_at desc);
