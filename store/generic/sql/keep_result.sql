-- keep_result: what a generic write answered, kept with its claim.   in: id uuid, result jsonb
update operations set result = %(result)s::jsonb where operation_id = %(id)s::uuid
