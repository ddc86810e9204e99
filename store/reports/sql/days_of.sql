-- days_of: the days (UTC) of a table that is partitioned by day, the first one first.   in: parent   out: the instant at which each begins
select to_date(right(child.relname, 8), 'YYYYMMDD')::timestamp at time zone 'UTC'
from pg_inherits join pg_class as child on child.oid = pg_inherits.inhrelid
where pg_inherits.inhparent = %(parent)s::regclass and child.relname ~ '_p[0-9]{8}$'
order by 1
