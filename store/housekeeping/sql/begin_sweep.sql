-- begin_sweep: what a portion of a sweep begins with.
-- in:  at, timestamptz or NULL for the database's clock; xid, the transaction of the portion before, or NULL
-- out: the instant by which nodes are judged; this transaction; whether the one before was committed
-- The instant is a parameter of sweep_nodes and not a part of it: PostgreSQL writes node_liveness out for parameters only. And rows are
-- to be found in their order, a portion and no more: for a portion whose size it does not know PostgreSQL would sort them all.
select
  coalesce(%(at)s::timestamptz, clock_timestamp()),
  pg_current_xact_id()::text,
  pg_xact_status(%(xid)s::text::xid8) is not distinct from 'committed',
  set_config('enable_bitmapscan', 'off', true)
