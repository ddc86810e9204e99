-- resolve_dead_letter: say what became of a letter.   in: id uuid, digest hex text, status text
update dead_letters set status = %(status)s, resolved_at = now() where id = %(id)s and digest = decode(%(digest)s, 'hex')
