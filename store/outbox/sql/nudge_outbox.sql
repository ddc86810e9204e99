-- nudge_outbox: wake the relays when this transaction commits.   in: channel text   out: nothing of use
select pg_notify(%(channel)s, '')
