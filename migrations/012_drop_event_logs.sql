-- Undoes 012: the events, with every partition. Those that still wait to go out are lost with it.
drop table if exists event_logs;
