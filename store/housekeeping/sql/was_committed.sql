-- was_committed: what became of a transaction.   in: transaction, its id as text   out: whether it was committed
select pg_xact_status(%(transaction)s::text::xid8) is not distinct from 'committed'
