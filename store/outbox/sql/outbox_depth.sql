-- outbox_depth: how many events wait, for how many seconds the first of them has, and how many refused ones want somebody
-- Counted in idx_event_logs_outbox_by_topic; the first is that of idx_event_logs_outbox. One that goes out again has waited since it was retried, which its letter knows. Not less than 0, should the clock have gone
-- back.
select
  (select count(*) from event_logs where status = 'pending'),
  (select greatest(0, extract(epoch from clock_timestamp() - greatest(event.created_at, (
     select max(letter.resolved_at) from dead_letters as letter
     where letter.id = event.id and letter.form = 'event' and letter.status = 'retried'))))::float8
   from event_logs as event where direction = 'out' and status = 'pending' order by seq limit 1),
  (select count(*) from dead_letters where status = 'open' and form = 'event')
