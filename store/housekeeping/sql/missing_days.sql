-- missing_days: days from today on that have no partition.   in: parents text[], days_ahead, at (null: now)   out: table, how many, the first
select given.parent, count(*), min(wanted.day)
from unnest(%(parents)s::text[]) with ordinality as given (parent, place)
cross join lateral (
  select (coalesce(%(at)s::timestamptz, clock_timestamp()) at time zone 'UTC')::date + ahead as day
  from generate_series(0, %(days_ahead)s::integer) as ahead
) as wanted
where not exists (
  select from pg_inherits join pg_class as child on child.oid = pg_inherits.inhrelid
  where pg_inherits.inhparent = given.parent::regclass
    and child.relname = given.parent || to_char(wanted.day, '"_p"YYYYMMDD'))
group by given.parent, given.place
order by given.place
