-- Undoes 004.
drop table if exists bridge_states;
