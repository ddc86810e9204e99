-- report_trace_stamps: the stamps of a workflow, the first one first; by idx_metadata_stamps_workflow_id.
-- in:  workflow_id uuid (the row's id), rows_limit, bytes_limit (of the rows as text)
-- out: the first rows that fit (JSON array), whether there are more
select
  coalesce(jsonb_agg(item order by place) filter (where place <= %(rows_limit)s::integer and bytes <= %(bytes_limit)s::bigint), '[]'),
  coalesce(bool_or(place > %(rows_limit)s::integer or bytes > %(bytes_limit)s::bigint), false)
from (
  select item, place, sum(octet_length(item::text) + 2) over (order by place) as bytes
  from (
    select to_jsonb(stamp) as item, row_number() over (order by created_at, id) as place
    from metadata_stamps as stamp
    where workflow_id = %(workflow_id)s::uuid
    order by created_at, id
    limit %(rows_limit)s::integer + 1
  ) as first
) as measured
