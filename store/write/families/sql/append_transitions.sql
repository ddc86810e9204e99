-- append_transitions: one row per transition, once, and the state that each machine is in.
-- in:  rows, a JSON array of {operation_id, occurred_at, clock, and the fields of a transition}; `clock` sorts as
--      (occurred_at, rank of to_state, operation_id)
-- The count grows only by rows that are new, so it holds even for a transition that the ledger has forgotten; not for one whose
-- row retention has removed as well: that one counts again.
-- A state's metadata is its transition's; where that has none, its data.
-- first_transition_id is the least id of all that were counted; null, unknown, stays so.
-- Transitions are sorted by id, states by key.
with given as materialized (
  select * from jsonb_to_recordset(%(rows)s::jsonb) as given (
    operation_id uuid, occurred_at timestamptz, clock text, entity_id uuid, entity_type text, from_state text, to_state text,
    transition_event text, transition_data jsonb, triggered_by text, metadata jsonb)
),
added as (
  insert into fsm_transitions (
    id, entity_id, entity_type, from_state, to_state, transition_event, transition_data, transition_at, triggered_by, metadata)
  select
    operation_id, entity_id, entity_type, from_state, to_state, transition_event, coalesce(transition_data, '{}'),
    occurred_at, triggered_by, coalesce(metadata, '{}')
  from given
  order by operation_id
  on conflict (id) do nothing
  returning entity_type, entity_id
),
counted as (
  select entity_type, entity_id, count(*) as transitions from added group by entity_type, entity_id
),
newest as (
  select distinct on (entity_type, entity_id)
    *, first_value(operation_id) over (partition by entity_type, entity_id order by operation_id) as first_id
  from given order by entity_type, entity_id, clock collate "C" desc
)
insert into fsm_states as held (
  entity_type, entity_id, current_state, previous_state, transition_count, last_transition_at, metadata, clock,
  first_transition_id)
select
  newest.entity_type, newest.entity_id, newest.to_state, newest.from_state, coalesce(counted.transitions, 0),
  newest.occurred_at, coalesce(newest.metadata, newest.transition_data, '{}'), newest.clock, newest.first_id
from newest
left join counted on counted.entity_type = newest.entity_type and counted.entity_id = newest.entity_id
order by newest.entity_type, newest.entity_id
on conflict (entity_type, entity_id) do update set
  transition_count = held.transition_count + excluded.transition_count,
  current_state = case when excluded.clock > held.clock then excluded.current_state else held.current_state end,
  previous_state = case when excluded.clock > held.clock then excluded.previous_state else held.previous_state end,
  last_transition_at = case when excluded.clock > held.clock then excluded.last_transition_at else held.last_transition_at end,
  metadata = case when excluded.clock > held.clock then excluded.metadata else held.metadata end,
  clock = greatest(excluded.clock, held.clock),
  first_transition_id = case when held.first_transition_id is not null
    then least(excluded.first_transition_id, held.first_transition_id) end,
  updated_at = now()
