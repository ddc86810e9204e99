-- default_partitions: the tables whose default partition is there, in the order given.   in: parents text[]   out: table
select given.parent
from unnest(%(parents)s::text[]) with ordinality as given (parent, place)
join pg_class as parent on parent.oid = to_regclass(given.parent)
join pg_inherits as link on link.inhparent = parent.oid
join pg_class as child on child.oid = link.inhrelid and child.relname = given.parent || '_default'
order by given.place
