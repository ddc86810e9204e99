-- What waits in the outbox, by topic: the relay's next events while it leaves out a topic that the bus does not take.
-- Only what goes out is ever pending. The condition says less than that of idx_event_logs_outbox, so that a statement that
-- says no more goes by this one: by the other it would pass through all that waits.
create index if not exists idx_event_logs_outbox_by_topic on event_logs (topic, seq) include (shard)
  where status::text = 'pending';
