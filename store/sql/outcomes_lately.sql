-- outcomes_lately: what the ledger took in the last seconds (served by the BRIN index on claimed_at).   in: seconds
-- What was claimed while the clock was ahead is not of these seconds.
select outcome, coalesce(code, '') as code, operation_type, count(*) as operations
from operations
where claimed_at > clock_timestamp() - make_interval(secs => %(seconds)s) and claimed_at <= clock_timestamp()
group by 1, 2, 3
