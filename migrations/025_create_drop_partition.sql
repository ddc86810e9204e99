-- dropped_days: of each table that is partitioned by day, the last day (UTC) of which rows were removed. A day that stands
-- after it is whole: days go from the oldest on. drop_partition writes it, and whoever removes rows outside every day.
create table if not exists dropped_days (
  parent text primary key,
  last_day date not null,
  constraint chk_dropped_days_parent check (parent in ('operations', 'workflow_steps', 'fsm_transitions', 'event_logs'))
);

-- drop_partition(parent, day): remove one day (UTC) of a table that is partitioned by day; returns what that did:
--   {"dropped": true, "bytes": its size, "moved": events moved forward}
--   {"dropped": false, "pending": events of it that wait to go out}      where there is no such day, 0
-- Today's partition and later ones are refused; how old a day has to be is for the caller to say.
--
-- Events that wait to go out are not lost: they move to the default partition, under their ids, and relays find them
-- there. Where more than a thousand wait, something is wrong with the relays, and the day stays.
--
-- Writers of the parent wait only while its lock is wanted or held. So:
--   a vacuum of the day or of the default partition is waited for (and asked to end) before anything that writers feel is
--   locked; that lock stands in nobody else's way;
--   then whoever waits for a lock gives up after 40 ms (55P03, nothing is changed) and the caller tries again. There are
--   at most three such waits, and what is done between them takes milliseconds: the files go after the commit.
-- One day at a time, and not while days are made. A day of workflow_steps wants no lock of workflow_executions: the foreign key's
-- triggers there belong to the whole table.
--
-- Runs with the rights of its owner, since the worker's role drops no tables; only a role that may delete operations may call it.
create or replace function drop_partition(parent text, day date) returns jsonb
language plpgsql volatile security definer
set lock_timeout = '3s'
set enable_seqscan = off
as $$
declare
  most_moved constant integer := 1000;
  name constant text := parent || to_char(day, '"_p"YYYYMMDD');
  bytes bigint;
  waiting bigint := 0;
begin
  if not has_table_privilege(session_user, 'operations', 'delete') then
    raise insufficient_privilege using message = 'only a role that may delete operations drops partitions';
  end if;
  if parent is null or parent not in ('operations', 'workflow_steps', 'fsm_transitions', 'event_logs') then
    raise invalid_parameter_value using message = 'parent must be a table that is partitioned by day';
  end if;
  if day is null or day >= (now() at time zone 'UTC')::date then
    raise invalid_parameter_value using message = 'day must be before today';
  end if;

  perform pg_advisory_xact_lock(hashtextextended('ensure_partitions', 0));
  if not exists (
    select from pg_inherits where inhparent = parent::regclass and inhrelid = to_regclass(quote_ident(name))
  ) then
    return jsonb_build_object('dropped', false, 'pending', 0);
  end if;
  bytes := pg_total_relation_size(name::regclass);
  execute format('lock table %I, %I in share update exclusive mode', name, parent || '_default');

  perform set_config('lock_timeout', '40ms', true);
  execute format('lock table only %I in access exclusive mode', parent);
  execute format('lock table %I in access exclusive mode', name);
  execute format('lock table %I in access exclusive mode', parent || '_default');
  if parent = 'event_logs' then
    execute format(
      'select count(*) from (select from %I where direction = ''out'' and status = ''pending'' limit %s) as few',
      name, most_moved + 1) into waiting;
    if waiting > most_moved then
      return jsonb_build_object('dropped', false, 'pending', waiting);
    end if;
    execute format('alter table event_logs detach partition %I', name);
    execute format('insert into event_logs select * from %I where direction = ''out'' and status = ''pending''', name);
  end if;
  execute format('drop table %I', name);
  insert into dropped_days as held (parent, last_day) values (drop_partition.parent, drop_partition.day)
  on conflict on constraint dropped_days_pkey do update set last_day = greatest(held.last_day, excluded.last_day);
  return jsonb_build_object('dropped', true, 'bytes', bytes, 'moved', waiting);
end
$$;

-- The rights of the owner must not be led to other tables by the caller's search path.
do $$
begin
  execute format('alter function drop_partition(text, date) set search_path = %I, pg_temp', current_schema());
end
$$;
