-- within_bytes: of the events that another statement finds, those before which there are less than bytes_limit bytes, so at least one.
-- in: bytes_limit; {events} stands for that statement, pending_outbox or pending_outbox_without, and what it takes
-- What is stored, perhaps compressed, is counted first: it need not be unpacked for that.
select id, seq, event_type, topic, partition_key, payload, envelope, attempts, created_at
from (
  select *, sum(bytes) over (order by seq rows between unbounded preceding and 1 preceding) as bytes_before
  from (
    select *, octet_length(payload::text) + coalesce(octet_length(envelope::text), 0) as bytes
    from (
      select *, sum(pg_column_size(payload)) over (order by seq rows between unbounded preceding and 1 preceding) as stored_before
      from ({events}) as next
    ) as small
    where coalesce(stored_before, 0) < %(bytes_limit)s
    order by seq
  ) as measured
) as found
where coalesce(bytes_before, 0) < %(bytes_limit)s
order by seq
