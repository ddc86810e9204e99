-- outbox_depth: how many events wait, for how many seconds the first of them has, and how many refused ones want somebody
select
  (select count(*) from event_logs where direction = 'out' and status = 'pending'),
  (select extract(epoch from clock_timestamp() - created_at)::float8 from event_logs
   where direction = 'out' and status = 'pending' order by seq limit 1),
  (select count(*) from dead_letters where status = 'open' and form = 'event')
