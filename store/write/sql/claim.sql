-- claim: take the operation ids that nobody has claimed.
-- in:  rows, a JSON array of {i: operation_id, c: correlation_id, t: operation_type, d: digest (hex), e: code if refused, l: the latest of its
--      times, o: the time of an id that counts by the ledger alone; both milliseconds since 1970}; future_limit_ms; horizon_ms
-- out: the ids taken now, as 32 digits. An id that is neither returned nor in the ledger afterwards lies in the future, or beyond the horizon.
-- Sorted, so that overlapping batches queue up behind each other instead of deadlocking. Short names: this is parsed once per operation.
insert into operations (operation_id, correlation_id, operation_type, outcome, digest, code)
select given.i, given.c, given.t, case when given.e is null then 'applied' else 'refused' end, decode(given.d, 'hex'), given.e
from json_to_recordset(%(rows)s::json) as given (i uuid, c uuid, t text, d text, e text, l bigint, o bigint)
where is_timely(given.l, given.o, %(future_limit_ms)s::bigint, %(horizon_ms)s::bigint)
order by given.i
on conflict (operation_id) do nothing
returning encode(uuid_send(operation_id), 'hex')
