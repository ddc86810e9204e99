-- find_dead_letters: the letters of one id, whole.   in: id uuid, digest hex text or null (a leading part is enough)
select id, encode(digest, 'hex') as digest, operation_type, correlation_id, code, message, form, source, topic, partition_key, status, created_at, resolved_at, payload
from dead_letters
where id = %(id)s and (%(digest)s::text is null or starts_with(encode(digest, 'hex'), %(digest)s::text))
order by created_at, digest
