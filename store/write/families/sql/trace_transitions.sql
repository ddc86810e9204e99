-- trace_transitions: the moves of a workflow, the first one first; by idx_fsm_transitions_entity.
-- in:  ids uuid[] (what the workflow is known by), first_id and last_id (of moves: days.py), rows_limit, row_bytes and bytes_limit (of a row, of all, as text)
-- out: the first rows that fit (JSON array; see row_within), how many there are
select coalesce(jsonb_agg(item order by place) filter (where bytes <= %(bytes_limit)s::bigint), '[]'), coalesce(max(there), 0)
from (
  select item, place, there, sum(octet_length(item::text) + 2) over (order by place) as bytes
  from (
    select row_within(to_jsonb(move) - '{place,there}'::text[], %(row_bytes)s::bigint) as item, place, there
    from (
      select *, row_number() over (order by transition_at, id) as place, count(*) over () as there
      from fsm_transitions
      where entity_type = 'workflow_execution' and entity_id = any(%(ids)s::uuid[])
        and id between %(first_id)s::uuid and %(last_id)s::uuid
    ) as move
    where place <= %(rows_limit)s::integer
  ) as shown
) as measured
