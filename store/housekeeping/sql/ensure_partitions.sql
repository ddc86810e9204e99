-- ensure_partitions: a partition for each day around today, where it is missing.   in: days_back, days_ahead   out: how many were made
select ensure_partitions(%(days_back)s::integer, %(days_ahead)s::integer)
