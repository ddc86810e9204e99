-- Undoes 017: the function only. The days that it made stay, since they hold rows; they go with their tables.
drop function if exists ensure_partitions(integer, integer);
