-- fold_states: where some state machines stand, as in fold_workflows.   in: entity_type, entity_id, two arrays of equal length
select
  held.entity_type, held.entity_id, held.current_state, held.previous_state, held.transition_count, held.last_transition_at,
  held.metadata
from unnest(%(entity_type)s::text[], %(entity_id)s::uuid[]) as given (entity_type, entity_id)
join fsm_states as held on held.entity_type = given.entity_type and held.entity_id = given.entity_id
