-- failed_workflows: what failed lately, newest first; by idx_workflow_executions_failed and, of those without a
-- completion, idx_workflow_executions_failed_open.
-- in:  within interval, rows_limit, bytes_limit (of the rows as text)
-- out: one workflow a row (JSON), how many there are, or more than rows_limit
select item, there
from (
  select item, place, count(*) over () as there, sum(octet_length(item::text)) over (order by place) as bytes
  from (
    select to_jsonb(shown) as item, row_number() over (order by failed_at desc, id desc) as place
    from (
      select
        id, coalesce(workflow_id, id) as workflow_id, correlation_id, workflow_type, namespace,
        left(coalesce(error_message, error_info ->> 'message'), 2000) as error_message,
        left(coalesce(error_info ->> 'code', error_info ->> 'error_code'), 100) as error_code,
        started_at, failed_at
      from (
        (select *, completed_at as failed_at
         from workflow_executions
         where current_state = 'FAILED' and completed_at > now() - %(within)s::interval
         order by completed_at desc
         limit %(rows_limit)s::integer + 1)
        union all
        (select *, created_at as failed_at
         from workflow_executions
         where current_state = 'FAILED' and completed_at is null and created_at > now() - %(within)s::interval
         order by created_at desc
         limit %(rows_limit)s::integer + 1)
      ) as failed
      order by failed_at desc, id desc
      limit %(rows_limit)s::integer + 1
    ) as shown
  ) as newest
) as measured
where place <= %(rows_limit)s::integer and bytes <= %(bytes_limit)s::bigint
order by place
