-- report_trace_transitions: the moves of a workflow, the first one first; by idx_fsm_transitions_entity.
-- in:  ids uuid[] (what the workflow is known by), rows_limit, bytes_limit (of the rows as text)
-- out: the first rows that fit (JSON array), whether there are more
select
  coalesce(jsonb_agg(item order by place) filter (where place <= %(rows_limit)s::integer and bytes <= %(bytes_limit)s::bigint), '[]'),
  coalesce(bool_or(place > %(rows_limit)s::integer or bytes > %(bytes_limit)s::bigint), false)
from (
  select item, place, sum(octet_length(item::text) + 2) over (order by place) as bytes
  from (
    select to_jsonb(move) as item, row_number() over (order by transition_at, id) as place
    from fsm_transitions as move
    where entity_type = 'workflow_execution' and entity_id = any(%(ids)s::uuid[])
    order by transition_at, id
    limit %(rows_limit)s::integer + 1
  ) as first
) as measured
