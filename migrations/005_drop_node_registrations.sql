-- Undoes 005.
drop table if exists node_registrations;
