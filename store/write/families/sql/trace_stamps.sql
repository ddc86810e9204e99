-- trace_stamps: the stamps of a workflow, the first one first; by idx_metadata_stamps_workflow_id.
-- in:  workflow_id uuid (the row's id), rows_limit, row_bytes and bytes_limit (of a row, of all, as text)
-- out: the first rows that fit (JSON array; see row_within), how many there are
select coalesce(jsonb_agg(item order by place) filter (where bytes <= %(bytes_limit)s::bigint), '[]'), coalesce(max(there), 0)
from (
  select item, place, there, sum(octet_length(item::text) + 2) over (order by place) as bytes
  from (
    select row_within(to_jsonb(stamp) - '{place,there}'::text[], %(row_bytes)s::bigint) as item, place, there
    from (
      select *, row_number() over (order by created_at, id) as place, count(*) over () as there
      from metadata_stamps
      where workflow_id = %(workflow_id)s::uuid
    ) as stamp
    where place <= %(rows_limit)s::integer
  ) as shown
) as measured
