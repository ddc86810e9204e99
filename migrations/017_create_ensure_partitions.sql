-- ensure_partitions(days_back, days_ahead): a partition for every day (UTC) in that range, of each table that is
-- partitioned by day; returns how many it made. May be called at any time, by several at once, as often as one likes.
--
-- A UUIDv7 begins with 48 bits of milliseconds, so a day is a range of ids. A new partition is made as a table of its own
-- and then attached, because CREATE TABLE ... PARTITION OF waits for everyone who writes to the parent, and everyone
-- else waits behind it. Attaching still needs moments in which nobody writes to the default partition and, for the
-- foreign key of workflow_steps, to workflow_executions. Hence:
--   all tables are made first, so that the locks that others feel are held only while attaching;
--   locks are taken in the order in which batches take theirs, so that the two do not wait for each other in a circle;
--   who waits for a lock gives up after half a second (55P03), nothing is made, and the caller tries again.
-- Rows of the day that lie in the default partition move into the new one; no writer can add another meanwhile.
--
-- Runs with the rights of its owner, since the worker's role makes no tables; only a role that may write operations may call it.
create or replace function ensure_partitions(days_back integer, days_ahead integer) returns integer
language plpgsql volatile security definer
set lock_timeout = '30s'
as $$
declare
  today constant date := (now() at time zone 'UTC')::date;
  missing cursor for
    select
      parent.name as parent,
      parent.key,
      parent.name || '_default' as default_name,
      parent.name || to_char(day, '"_p"YYYYMMDD') as name,
      (lpad(to_hex((extract(epoch from day) * 1000)::bigint), 12, '0') || repeat('0', 20))::uuid as first_id,
      (lpad(to_hex((extract(epoch from day + 1) * 1000)::bigint), 12, '0') || repeat('0', 20))::uuid as end_id
    from (values
      (1, 'operations', 'operation_id'), (2, 'workflow_steps', 'id'), (3, 'fsm_transitions', 'id'), (4, 'event_logs', 'id')
    ) as parent (place, name, key)
    cross join generate_series(-days_back, days_ahead) as distance
    cross join lateral (values (today + distance)) as days (day)
    where not exists (
      select from pg_inherits
      join pg_class as child on child.oid = pg_inherits.inhrelid
      where pg_inherits.inhparent = parent.name::regclass
        and child.relname = parent.name || to_char(day, '"_p"YYYYMMDD'))
    order by parent.place, day;
  made integer := 0;
begin
  if not has_table_privilege(session_user, 'operations', 'insert') then
    raise insufficient_privilege using message = 'only a role that may write operations makes partitions';
  end if;
  if days_back is null or days_ahead is null or days_back not between 0 and 366 or days_ahead not between 0 and 366 then
    raise invalid_parameter_value using message = 'days_back and days_ahead must be from 0 to 366';
  end if;

  -- One at a time; whoever comes second finds everything made.
  perform pg_advisory_xact_lock(hashtextextended('ensure_partitions', 0));
  perform set_config('lock_timeout', '500ms', true);

  for partition in missing loop
    execute format(
      'create table %I (like %I including defaults including constraints including indexes including storage)',
      partition.name, partition.parent);
    made := made + 1;
  end loop;

  for partition in missing loop
    if partition.parent = 'workflow_steps' then
      lock table workflow_executions in share row exclusive mode;
    end if;
    execute format('lock table %I in access exclusive mode', partition.default_name);
    execute format(
      'with moved as (delete from %I where %I >= %L and %I < %L returning *) insert into %I select * from moved',
      partition.default_name, partition.key, partition.first_id, partition.key, partition.end_id, partition.name);
    execute format(
      'alter table %I attach partition %I for values from (%L) to (%L)',
      partition.parent, partition.name, partition.first_id, partition.end_id);
  end loop;
  return made;
end
$$;

-- The rights of the owner must not be led to other tables by the caller's search path.
do $$
begin
  execute format(
    'alter function ensure_partitions(integer, integer) set search_path = %I, pg_temp', current_schema());
end
$$;

-- As far back as the ledger's horizon and a day more, and three days ahead should housekeeping rest for a while.
select ensure_partitions(8, 3);
