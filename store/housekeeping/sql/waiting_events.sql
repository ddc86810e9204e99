-- waiting_events: events of a day that wait to go out, counted no further than rows_limit.
-- in: first, end (the ids of the day, without the last), rows_limit   out: count   (idx of what waits, one partition)
select count(*) from (
  select from event_logs
  where direction = 'out' and status = 'pending' and id >= %(first)s::uuid and id < %(end)s::uuid
  limit %(rows_limit)s::bigint
) as few
