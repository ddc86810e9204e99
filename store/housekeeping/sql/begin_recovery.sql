-- begin_recovery: what a portion of a recovery begins with.
-- in:  at, timestamptz or NULL for the database's clock; xid, the transaction of the portion before, or NULL
-- out: the instant by which workflows are judged; this transaction; whether the one before was committed
select
  coalesce(%(at)s::timestamptz, clock_timestamp()),
  pg_current_xact_id()::text,
  pg_xact_status(%(xid)s::text::xid8) is not distinct from 'committed'
