-- report_stamps_with: stamps by what their intelligence_data contains, newest first; by idx_metadata_stamps_intelligence.
-- in:  intelligence jsonb (an object, not empty), rows_limit, bytes_limit (of the rows as text)   out: one stamp a row (JSON)
select item
from (
  select item, place, sum(octet_length(item::text)) over (order by place) as bytes
  from (
    select to_jsonb(stamp) as item, row_number() over (order by created_at desc, id desc) as place
    from metadata_stamps as stamp
    where intelligence_data @> %(intelligence)s::jsonb and intelligence_data <> '{}'
    order by created_at desc, id desc
    limit %(rows_limit)s::integer
  ) as newest
) as measured
where bytes <= %(bytes_limit)s::bigint
order by place
