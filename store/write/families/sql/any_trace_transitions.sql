-- any_trace_transitions: whether a workflow has moves between two ids.   in: ids uuid[], first_id, last_id   out: boolean
select exists (
  select from fsm_transitions
  where entity_type = 'workflow_execution' and entity_id = any(%(ids)s::uuid[])
    and id between %(first_id)s::uuid and %(last_id)s::uuid)
