-- claim: take the operation ids that nobody has claimed.
-- in:  rows, a JSON array of {i: operation_id, c: correlation_id, t: operation_type, d: digest (hex), e: code if refused, l: latest of its times};
--      future_limit, an interval
-- out: the ids taken now, as text. An id that is neither returned nor in the ledger afterwards lies in the future.
-- Sorted, so that overlapping batches queue up behind each other instead of deadlocking. Short names: this is parsed once per operation.
insert into operations (operation_id, correlation_id, operation_type, outcome, digest, code)
select given.i, given.c, given.t, case when given.e is null then 'applied' else 'refused' end, decode(given.d, 'hex'), given.e
from json_to_recordset(%(rows)s::json) as given (i uuid, c uuid, t text, d text, e text, l timestamptz)
where given.l is null or given.l <= clock_timestamp() + %(future_limit)s::interval
order by given.i
on conflict (operation_id) do nothing
returning operation_id::text
