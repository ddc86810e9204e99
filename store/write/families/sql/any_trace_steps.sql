-- any_trace_steps: whether a workflow has steps between two ids.   in: workflow_id, first_id, last_id   out: boolean
select exists (
  select from workflow_steps where workflow_id = %(workflow_id)s::uuid and id between %(first_id)s::uuid and %(last_id)s::uuid)
