-- remove_workflows: remove held workflows, and with them their steps that nobody keeps.   out: a row for each
-- in: ids uuid[] (of lock_old_workflows), and what the families want to know; {is_not_held} as in lock_old_workflows
delete from workflow_executions as held
where held.id = any(%(ids)s::uuid[])
  and {is_not_held}
