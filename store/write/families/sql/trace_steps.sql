-- trace_steps: the steps of a workflow, in their order; by idx_workflow_steps_workflow_id_order. Where there are more than
-- rows_limit, the first that failed come before those that did not; so they are there, wherever they stand.
-- in:  workflow_id uuid (the row's id), first_id and last_id (of steps: days.py), rows_limit, row_bytes and bytes_limit (of a row, of all, as text),
--      failed_limit (of those that come first)
-- out: the rows that fit (JSON array; see row_within), how many there are, how many of them failed
select
  coalesce(jsonb_agg(item order by place) filter (where bytes <= %(bytes_limit)s::bigint), '[]'),
  coalesce(max(there), 0), coalesce(max(failed), 0)
from (
  select item, place, there, failed, sum(octet_length(item::text) + 2) over (order by rank) as bytes
  from (
    select
      row_within(to_jsonb(step) - '{place,there,failed,comes_first,rank}'::text[], %(row_bytes)s::bigint) as item,
      place, there, failed, rank
    from (
      select *, row_number() over (order by comes_first desc, place) as rank
      from (
        select
          *, row_number() over steps as place, count(*) over () as there, count(*) filter (where status = 'FAILED') over () as failed,
          status = 'FAILED' and count(*) filter (where status = 'FAILED') over steps <= %(failed_limit)s::integer as comes_first
        from workflow_steps
        where workflow_id = %(workflow_id)s::uuid and id between %(first_id)s::uuid and %(last_id)s::uuid
        window steps as (order by step_order, created_at, id)
      ) as numbered
    ) as step
    where rank <= %(rows_limit)s::integer
  ) as shown
) as measured
