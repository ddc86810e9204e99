-- forget_attempts: operations that need no more tries.   in: ids uuid[]
delete from operation_attempts where operation_id = any(%(ids)s::uuid[])
