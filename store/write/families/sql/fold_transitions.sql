-- fold_transitions: the transitions of some ids, as in fold_workflows.   in: id, an array
select
  id, entity_id, entity_type, from_state, to_state, transition_event, transition_data, transition_at, triggered_by, metadata
from fsm_transitions
where id = any(%(id)s::uuid[])
