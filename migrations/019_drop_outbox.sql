-- Undoes 019: index, column and sequence; dead letters of events go with them, since the form would be unknown.
drop index if exists idx_event_logs_outbox;

alter table if exists event_logs
  drop column if exists shard;

do $$
begin
  if to_regclass('dead_letters') is not null then
    delete from dead_letters where form = 'event';
    alter table dead_letters drop constraint if exists dead_letters_form_check;
    alter table dead_letters add constraint dead_letters_form_check check (form::text in ('operation', 'record'));
  end if;
end
$$;

drop sequence if exists event_logs_seq;
