-- What recovery needs: which workflows are open, which of them were reported as stalled, and how far back the transitions
-- of a machine go.

-- stalled_at: when the workflow was reported; a write of its row makes it null again. Of a workflow that was given up, FAILED by
-- no more than a policy, it stays until an end is told or proven
alter table workflow_executions
  add column if not exists stalled_at timestamptz;

-- recovery: workflows that have not ended or were given up, whose transitions are ahead or which nobody has told of for long
create index if not exists idx_workflow_executions_open on workflow_executions (created_at)
  where current_state::text not in ('COMPLETED', 'FAILED') or stalled_at is not null;

-- first_transition_id: the least id that was counted; while its day stands, all that was counted is there. Null: unknown
alter table fsm_states
  add column if not exists first_transition_id uuid;

-- States older than this column: known where as many transitions are there as were counted.
update fsm_states as held
set first_transition_id = told.first_id
from (
  select entity_type, entity_id, count(*) as transitions, (array_agg(id order by id))[1] as first_id
  from fsm_transitions
  group by entity_type, entity_id
) as told
where held.first_transition_id is null
  and told.entity_type = held.entity_type and told.entity_id = held.entity_id and told.transitions = held.transition_count;

-- clock_text: 48 characters that sort as (instant, id) do: 16 hex digits of microseconds since the year 1, then the id.
create or replace function clock_text(instant timestamptz, id uuid) returns text
language sql stable parallel safe
as $$
  select lpad(to_hex(((extract(epoch from instant) + 62135596800) * 1000000)::bigint), 16, '0') || replace(id::text, '-', '')
$$;
