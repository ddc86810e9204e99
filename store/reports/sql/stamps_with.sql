-- stamps_with: stamps by what their intelligence_data contains, newest first; by idx_metadata_stamps_intelligence.
-- in:  intelligence jsonb (an object with a scalar in it), rows_limit, row_bytes and bytes_limit (of a row, of all, as text)
-- out: one stamp a row (JSON; see row_within), how many there are, or more than rows_limit
select item, there
from (
  select item, place, count(*) over () as there, sum(octet_length(item::text)) over (order by place) as bytes
  from (
    select row_within(to_jsonb(stamp), %(row_bytes)s::bigint) as item, row_number() over (order by created_at desc, id desc) as place
    from metadata_stamps as stamp
    where intelligence_data @> %(intelligence)s::jsonb and intelligence_data <> '{}'
    order by created_at desc, id desc
    limit %(rows_limit)s::integer + 1
  ) as newest
) as measured
where place <= %(rows_limit)s::integer and bytes <= %(bytes_limit)s::bigint
order by place
