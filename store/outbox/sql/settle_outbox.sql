-- settle_outbox: say what became of events.   in: ids uuid[], status text ('published' or 'refused')
-- The join makes PostgreSQL look into each id's own partition only. Not "status = 'pending'": a plan made before the table's
-- statistics know of a backlog would read all of it, by the partial index of what waits, for every id.
update event_logs as event
set status = %(status)s::text, attempts = event.attempts + 1,
  published_at = case when %(status)s::text = 'published' then clock_timestamp() else event.published_at end
from unnest(%(ids)s::uuid[]) as settled (id)
where event.id = settled.id and event.direction = 'out' and event.status not in ('published', 'refused')
