-- Undoes 021; the indexes in whose place it put others come back.
drop index if exists idx_bridge_states_active;
drop index if exists idx_bridge_states_namespace_created_at;
drop index if exists idx_workflow_executions_failed_open;
drop index if exists idx_metadata_stamps_intelligence;
drop index if exists idx_event_logs_error;

do $$
begin
  if to_regclass('metadata_stamps') is not null then
    create index if not exists idx_metadata_stamps_file_hash on metadata_stamps (file_hash);
  end if;
  if to_regclass('event_logs') is not null then
    create index if not exists idx_event_logs_session_id on event_logs (session_id) where session_id is not null;
  end if;
end
$$;
drop index if exists idx_metadata_stamps_file;
drop index if exists idx_event_logs_session;
