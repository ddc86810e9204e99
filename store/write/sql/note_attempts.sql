-- note_attempts: operations that failed alone, once more.
-- in:  rows, a JSON array of {id, operation_type, scope, reason}
-- out: operation_id; attempts so far, this one among them; for how many seconds it has been failing, or its table
-- A table's time goes on from one row to the next: who comes later need not wait as long as the first.
with old as (
  delete from operation_attempts where operation_id in (
    select operation_id from operation_attempts where last_at < clock_timestamp() - interval '7 days' limit 1000
  )
), failing as (
  select operation_type, scope, min(first_at) as since
  from operation_attempts
  where scope = 'table' and last_at > clock_timestamp() - interval '2 minutes'
  group by operation_type, scope
), noted as (
  insert into operation_attempts as known (operation_id, operation_type, scope, reason)
  select given.id, given.operation_type, given.scope, given.reason
  from json_to_recordset(%(rows)s::json) as given (id uuid, operation_type text, scope text, reason text)
  order by given.id
  on conflict (operation_id) do update set
    attempts = known.attempts + 1, scope = excluded.scope, reason = excluded.reason, last_at = clock_timestamp()
  returning operation_id, operation_type, scope, attempts, first_at
)
select noted.operation_id, noted.attempts, extract(epoch from clock_timestamp() - least(noted.first_at, failing.since))::float8
from noted
left join failing on failing.operation_type = noted.operation_type and failing.scope = noted.scope
