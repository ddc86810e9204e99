-- find_idle: open workflows whose row nobody has written for long, and of which that is to be told or concluded.
-- in:  at timestamptz; after interval, for the report; types text[] and limits interval[], the policies; other interval, the
--      policy of every other type (null: none); rows_limit
-- out: correlation ids in their order; where there are more than rows_limit, some of them, others each time, so that none is
--      forgotten. settle_idle looks for what else was heard of each
select correlation_id
from (
  select workflow.correlation_id
  from workflow_executions as workflow
  where workflow.current_state not in ('COMPLETED', 'FAILED')
    and ((workflow.stalled_at is null and workflow.updated_at <= %(at)s::timestamptz - %(after)s::interval)
      or workflow.updated_at <= %(at)s::timestamptz - coalesce(
        (select policy.ends_after from unnest(%(types)s::text[], %(limits)s::interval[]) as policy (workflow_type, ends_after)
         where policy.workflow_type = workflow.workflow_type),
        %(other)s::interval))
  order by random()
  limit %(rows_limit)s::integer
) as idle
order by correlation_id
