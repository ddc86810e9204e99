-- remove_workflows: remove held workflows, and with them their steps that nobody keeps.   out: a row for each
-- in: ids uuid[] (of lock_old_workflows), steps_first_kept, stamps_cut, stamps_first_kept, first_timed
delete from workflow_executions as held
where held.id = any(%(ids)s::uuid[])
  and not exists (
    select from workflow_steps as step
    where step.workflow_id = held.id and (
      step.id >= %(steps_first_kept)s::uuid
      or step.id < %(first_timed)s::uuid and exists (
        select from operations as claim
        where claim.operation_id = step.id and claim.operation_id < %(first_timed)s::uuid)))
  and not exists (
    select from metadata_stamps as stamp
    where stamp.workflow_id = held.id
      and (stamp.id < %(first_timed)s::uuid or stamp.id >= %(stamps_first_kept)s::uuid or stamp.created_at >= %(stamps_cut)s::timestamptz))
