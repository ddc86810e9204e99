-- open_letters_in_order: what waits for somebody, in the order in which it is to be retried: the oldest first, and behind that
-- events in the order of their seq.   in: code text or null   out: id, digest
-- Each event is looked up by its id; one whose row is gone is older than all of those.
select letter.id, encode(letter.digest, 'hex')
from dead_letters as letter
where letter.status = 'open' and (%(code)s::text is null or letter.code = %(code)s::text)
order by
  letter.form = 'event',
  (select event.seq from event_logs as event where event.id = letter.id and letter.form = 'event') nulls first,
  letter.created_at, letter.id, letter.digest
