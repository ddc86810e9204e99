-- Undoes 002: the steps, with every partition.
drop table if exists workflow_steps;
