-- drop_partition: remove one day of a table, as migration 025 says.   in: parent, day date   out: jsonb
-- Raises 55P03 when somebody is in the way; nothing is changed then.
select drop_partition(%(parent)s::text, %(day)s::date)
