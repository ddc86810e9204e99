-- lock_dead_letter: one letter, kept from others until the transaction ends.   in: id uuid, digest hex text   out: its status
select status from dead_letters where id = %(id)s and digest = decode(%(digest)s, 'hex') for update
