-- limit_trial: how long each statement of this transaction may take, and wait for a lock, if that is less than otherwise.
-- in: statement_ms, lock_ms   out: nothing of use
select set_config(name, least(nullif(setting::bigint, 0), case name when 'lock_timeout' then %(lock_ms)s::bigint else %(statement_ms)s::bigint end)::text, true)
from pg_settings
where name in ('statement_timeout', 'lock_timeout')
