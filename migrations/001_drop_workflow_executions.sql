-- Undoes 001: the workflows, and the function that made their ids. Every table that uses either is gone before.
drop table if exists workflow_executions;
drop function if exists uuid_v7();
