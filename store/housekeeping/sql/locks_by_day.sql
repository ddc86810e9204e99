-- locks_by_day: what the server has room for, and what a statement takes that reads every day of a table with days.
-- in:  parents text[]   out, a row each: the table, locks a day (itself and its indexes), its days, locks of the server, its connections
select given.parent, 1 + (select count(*) from pg_index where indrelid = to_regclass(given.parent)),
  (select count(*) from pg_inherits where inhparent = to_regclass(given.parent)),
  current_setting('max_locks_per_transaction')::bigint
    * (current_setting('max_connections')::bigint + current_setting('max_prepared_transactions')::bigint),
  current_setting('max_connections')::bigint + current_setting('max_prepared_transactions')::bigint
from unnest(%(parents)s::text[]) as given (parent)
