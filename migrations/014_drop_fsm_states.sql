-- Undoes 014.
drop table if exists fsm_states;
