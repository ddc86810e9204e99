-- Undoes 027.
drop index if exists idx_event_logs_outbox_by_topic;
