-- old_days: the days of partitioned tables that ended before what is kept begins, oldest first within a table.
-- in: parents text[], first_days date[] (the first day that is kept of each)   out: table, day, bytes
select given.parent, found.day, pg_total_relation_size(found.oid)
from unnest(%(parents)s::text[], %(first_days)s::date[]) with ordinality as given (parent, first_day, place)
cross join lateral (
  select child.oid, to_date(right(child.relname, 8), 'YYYYMMDD') as day
  from pg_inherits join pg_class as child on child.oid = pg_inherits.inhrelid
  where pg_inherits.inhparent = given.parent::regclass and child.relname ~ '_p[0-9]{8}$'
) as found
where found.day < given.first_day
order by given.place, found.day
