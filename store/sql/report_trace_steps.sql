-- report_trace_steps: the steps of a workflow, in their order; by idx_workflow_steps_workflow_id_order.
-- in:  workflow_id uuid (the row's id), rows_limit, bytes_limit (of the rows as text)
-- out: the first rows that fit (JSON array), whether there are more
select
  coalesce(jsonb_agg(item order by place) filter (where place <= %(rows_limit)s::integer and bytes <= %(bytes_limit)s::bigint), '[]'),
  coalesce(bool_or(place > %(rows_limit)s::integer or bytes > %(bytes_limit)s::bigint), false)
from (
  select item, place, sum(octet_length(item::text) + 2) over (order by place) as bytes
  from (
    select to_jsonb(step) as item, row_number() over (order by step_order, created_at, id) as place
    from workflow_steps as step
    where workflow_id = %(workflow_id)s::uuid
    order by step_order, created_at, id
    limit %(rows_limit)s::integer + 1
  ) as first
) as measured
