-- move_fsm_states: the state that each machine is in, after transitions that were inserted just now; as append_transitions does.
-- in: rows, a JSON array of {id, transition_at, clock, and the fields of a transition}, each of them new
with given as materialized (
  select * from jsonb_to_recordset(%(rows)s::jsonb) as given (
    id uuid, transition_at timestamptz, clock text, entity_id uuid, entity_type text, from_state text, to_state text,
    transition_data jsonb, metadata jsonb)
),
counted as (
  select entity_type, entity_id, count(*) as transitions, (array_agg(id order by id))[1] as first_id
  from given group by entity_type, entity_id
),
newest as (
  select distinct on (entity_type, entity_id) * from given order by entity_type, entity_id, clock collate "C" desc
)
insert into fsm_states as held (
  entity_type, entity_id, current_state, previous_state, transition_count, last_transition_at, metadata, clock,
  first_transition_id)
select
  newest.entity_type, newest.entity_id, newest.to_state, newest.from_state, counted.transitions, newest.transition_at,
  coalesce(newest.metadata, newest.transition_data, '{}'), newest.clock, counted.first_id
from newest
join counted on counted.entity_type = newest.entity_type and counted.entity_id = newest.entity_id
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
