-- Undoes 015: the dead letters, also those that nobody has looked at.
drop table if exists dead_letters;
