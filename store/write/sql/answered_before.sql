-- answered_before: what the ledger says of a generic write's id that could not be claimed.   in: id uuid, horizon interval
-- out: digest (hex), code, result, all null where the ledger does not have the id; whether the id is older than the horizon
select
  encode(ledger.digest, 'hex'), ledger.code, ledger.result,
  ('x' || substring(replace(asked.id::text, '-', '') for 12))::bit(48)::bigint
    < extract(epoch from clock_timestamp() - %(horizon)s::interval) * 1000
from (select %(id)s::uuid) as asked (id)
left join operations as ledger on ledger.operation_id = asked.id
