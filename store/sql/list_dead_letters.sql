-- list_dead_letters: the newest first.   in: status text or null for all, code text or null, rows_limit
select id, encode(digest, 'hex') as digest, operation_type, correlation_id, code, message, form, source, topic, partition_key, status, created_at, resolved_at
from dead_letters
where (%(status)s::text is null or status = %(status)s::text) and (%(code)s::text is null or code = %(code)s::text)
order by created_at desc, id
limit %(rows_limit)s
