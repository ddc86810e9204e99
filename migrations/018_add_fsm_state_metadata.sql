-- What the transition that a state comes from said beside it: recovery gives it back without looking into fsm_transitions.
alter table fsm_states
  add column if not exists metadata jsonb not null default '{}';

-- recovery, page by page: machines that moved at the same instant are told apart by their id
create index if not exists idx_fsm_states_recovery on fsm_states (entity_type, last_transition_at desc, entity_id desc);
drop index if exists idx_fsm_states_type_last_transition_at;
