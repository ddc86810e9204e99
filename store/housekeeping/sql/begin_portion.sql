-- begin_portion: what a portion of a job begins with.
-- in:  at, timestamptz or NULL for the database's clock; last, the transaction of the portion before, or NULL
-- out: the instant by which the portion judges; this transaction; whether the one before was committed
select
  coalesce(%(at)s::timestamptz, clock_timestamp()),
  pg_current_xact_id()::text,
  pg_xact_status(%(last)s::text::xid8) is not distinct from 'committed'
