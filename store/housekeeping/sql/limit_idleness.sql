-- limit_idleness: a portion's transaction ends by itself where its client does nothing for so long.   in: idle_s   out: nothing of interest
select set_config('idle_in_transaction_session_timeout', %(idle_s)s::integer || 's', true)
