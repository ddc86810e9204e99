-- claimed_before: what the ledger says of ids that could not be claimed.   in: ids uuid[]
-- out: operation_id (32 digits), digest (hex), outcome, code, message (of its dead letter, if it has one)
select encode(uuid_send(ledger.operation_id), 'hex'), encode(ledger.digest, 'hex'), ledger.outcome, ledger.code, letter.message
from operations as ledger
left join dead_letters as letter
  on ledger.outcome = 'refused' and letter.id = ledger.operation_id and letter.digest = ledger.digest
where ledger.operation_id = any(%(ids)s::uuid[])
