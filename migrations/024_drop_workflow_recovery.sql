-- Undoes 024: the columns, with what is in them. What was concluded of workflows stays.
drop function if exists clock_text(timestamptz, uuid);

alter table if exists fsm_states
  drop column if exists first_transition_id;

drop index if exists idx_workflow_executions_open;

alter table if exists workflow_executions
  drop column if exists stalled_at;
