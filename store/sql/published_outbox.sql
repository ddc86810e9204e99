-- published_outbox: which of these events the bus has.   in: ids uuid[]
select event.id
from unnest(%(ids)s::uuid[]) as asked (id)
join event_logs as event on event.id = asked.id
where event.direction = 'out' and event.status = 'published'
