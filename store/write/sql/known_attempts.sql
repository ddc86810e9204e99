-- known_attempts: which of these operations have failed alone before.   in: ids uuid[]   out: operation_id
select operation_id from operation_attempts where operation_id = any(%(ids)s::uuid[])
