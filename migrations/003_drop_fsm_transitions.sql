-- Undoes 003: the transitions, with every partition.
drop table if exists fsm_transitions;
