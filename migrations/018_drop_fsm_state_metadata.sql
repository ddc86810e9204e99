-- Undoes 018: the column, with what is in it; the index is again the one of 014.
do $$
begin
  if to_regclass('fsm_states') is not null then
    create index if not exists idx_fsm_states_type_last_transition_at on fsm_states (entity_type, last_transition_at desc);
  end if;
end
$$;

drop index if exists idx_fsm_states_recovery;

alter table if exists fsm_states
  drop column if exists metadata;
