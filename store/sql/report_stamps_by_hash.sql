-- report_stamps_by_hash: the stamps of a file, newest first; by idx_metadata_stamps_file.
-- in:  file_hash, rows_limit, bytes_limit (of the rows as text)   out: one stamp a row (JSON)
select item
from (
  select item, place, sum(octet_length(item::text)) over (order by place) as bytes
  from (
    select to_jsonb(stamp) as item, row_number() over (order by created_at desc, id desc) as place
    from metadata_stamps as stamp
    where file_hash = %(file_hash)s::text
    order by created_at desc, id desc
    limit %(rows_limit)s::integer
  ) as newest
) as measured
where bytes <= %(bytes_limit)s::bigint
order by place
