-- namespace_stamps: a namespace's stamps in numbers; by idx_metadata_stamps_namespace_created_at.
-- A size is the first of the names that producers use which holds a whole number of bytes, as 12 or as 12.0.
-- in:  namespace   out: JSON {total_stamps, stamped_size_bytes (null: none tells), unique_file_types (how many), file_types (the first 1,000)}
select jsonb_build_object(
  'total_stamps', count(*),
  'stamped_size_bytes', sum(size.bytes),
  'unique_file_types', count(distinct left(file_type, 255)),
  'file_types', coalesce((array_agg(distinct left(file_type, 255)) filter (where file_type is not null))[1:1000], '{}'))
from metadata_stamps
left join lateral (
  select trunc(told::numeric) as bytes
  from unnest(array[
    file_metadata ->> 'size_bytes', file_metadata ->> 'file_size_bytes', file_metadata ->> 'file_size', file_metadata ->> 'size'
  ]) with ordinality as names (told, place)
  where told ~ '^[0-9]{1,18}(\.0{1,20})?$' order by place limit 1
) as size on true
cross join lateral (values (coalesce(
  file_metadata ->> 'content_type', file_metadata ->> 'file_type', file_metadata ->> 'mime_type'))) as types (file_type)
where namespace = %(namespace)s::text
