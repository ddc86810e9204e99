-- Indexes for the questions that people ask. Each is partial or in the place of one that stood before, so that writes
-- which it is not about pay nothing for it.

-- session_events: those of the last hours in a session that lives on; takes the place of (session_id) alone
create index if not exists idx_event_logs_session on event_logs (session_id, created_at) where session_id is not null;
drop index if exists idx_event_logs_session_id;

-- events_with_error: the newest of the few that tell of one
create index if not exists idx_event_logs_error on event_logs (created_at desc) where payload ? 'error';

-- stamps_by_hash: the newest of a file that is stamped over and over; takes the place of (file_hash) alone
create index if not exists idx_metadata_stamps_file on metadata_stamps (file_hash, created_at desc);
drop index if exists idx_metadata_stamps_file_hash;

-- stamps_with: by what the analysis contains; stamps without one are not in it
create index if not exists idx_metadata_stamps_intelligence on metadata_stamps
  using gin (intelligence_data jsonb_path_ops) where intelligence_data <> '{}';

-- find_failed_workflows: those that failed without telling when; the others are in idx_workflow_executions_failed
create index if not exists idx_workflow_executions_failed_open on workflow_executions (created_at desc)
  where current_state = 'FAILED' and completed_at is null;

-- list_bridge_states: those of a namespace, the newest first
create index if not exists idx_bridge_states_namespace_created_at on bridge_states (namespace, created_at desc);

-- active_bridge_states: bridges at work, counted from the index alone
create index if not exists idx_bridge_states_active on bridge_states (node_type, current_fsm_state)
  where current_fsm_state::text not in ('IDLE', 'COMPLETED');
