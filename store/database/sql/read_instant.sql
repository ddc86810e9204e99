-- read_instant: the database's clock, at which a generic write happens.   out: timestamptz
select clock_timestamp()
