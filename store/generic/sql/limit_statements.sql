-- limit_statements: the time that each statement of this transaction may take.   in: timeout_ms   out: nothing of use
select set_config('statement_timeout', %(timeout_ms)s::text, true)
