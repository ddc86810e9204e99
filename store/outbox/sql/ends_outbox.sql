-- ends_outbox: what became of these events, of those that wait no more.   in: ids uuid[]
-- out: id, whether the bus has it; if not, it refused it
select event.id, event.status = 'published'
from unnest(%(ids)s::uuid[]) as asked (id)
join event_logs as event on event.id = asked.id
where event.direction = 'out' and event.status in ('published', 'refused')
