-- Undoes 013: the ledger, with every partition. An operation delivered again afterwards is applied again.
drop table if exists operations;
