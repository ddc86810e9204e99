-- The outbox: rows of event_logs with direction 'out'. A row is appended in the transaction of the effect that it announces,
-- with status 'pending'; a relay publishes it and says 'published', or 'refused' when the bus will never take it.
-- shard is made from the partition key. seq is taken while the transaction holds the shard's advisory lock, so that within a
-- shard, and so within a key, the order of seq is the order of commit.
create sequence if not exists event_logs_seq as bigint;

alter table event_logs
  add column if not exists shard smallint;

-- the relay's next events, in order; and how many wait
create index if not exists idx_event_logs_outbox on event_logs (seq) include (shard)
  where direction::text = 'out' and status::text = 'pending';

-- A dead letter may be an event that the bus refused: its payload is the envelope, its id the event's.
alter table dead_letters
  drop constraint if exists dead_letters_form_check;
alter table dead_letters
  add constraint dead_letters_form_check check (form::text in ('operation', 'record', 'event'));
