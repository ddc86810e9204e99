-- Undoes 025. The days that it removed are gone, and that they were removed is forgotten.
drop function if exists drop_partition(text, date);
drop table if exists dropped_days;
