-- Undoes 006.
drop table if exists metadata_stamps;
