-- lock_old_workflows: hold workflows that ended, were not written for long, and that nothing which is kept refers to.
-- in: cut, after_at and after (where the last portion stopped), rows_limit, and what the families want to know;
--      {is_not_held}: that no row which is kept refers to the workflow, as the families say (references.py)
-- out: ids that are held now, rows looked at, created_at and id of the last of them   (idx_workflow_executions_created_at)
-- A held row gets no step and no stamp any more; those that came since this began are seen by remove_workflows.
with scanned as materialized (
  select id, created_at
  from workflow_executions
  where created_at < %(cut)s::timestamptz and created_at >= %(after_at)s::timestamptz
    and (created_at, id) > (%(after_at)s::timestamptz, %(after)s::uuid)
  order by created_at, id
  limit %(rows_limit)s::bigint
),
locked as materialized (
  select held.id
  from scanned join workflow_executions as held on held.id = scanned.id
  where held.current_state in ('COMPLETED', 'FAILED') and held.updated_at < %(cut)s::timestamptz
    and {is_not_held}
  order by held.id
  for update of held skip locked
)
select
  (select coalesce(array_agg(id), '{}') from locked), count(*),
  max(created_at), (array_agg(id order by created_at desc, id desc))[1]
from scanned
