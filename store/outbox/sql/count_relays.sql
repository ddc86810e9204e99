-- count_relays: how many relays there are, of one name or, with null, of any.   in: class int, name int   out: their number
-- objsubid 2 marks a lock with a key of two halves.
select count(*)
from pg_locks l
where l.locktype = 'advisory' and l.objsubid = 2 and l.granted
  and l.database = (select d.oid from pg_database d where d.datname = current_database())
  and l.classid = %(class)s::integer::oid
  and (%(name)s::integer is null or l.objid = %(name)s::integer::oid)
