-- release_claim: give up the claim of a refused operation, to be claimed anew in the same transaction.   in: id uuid
delete from operations where operation_id = %(id)s and outcome = 'refused'
