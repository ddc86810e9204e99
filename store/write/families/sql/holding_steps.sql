-- holding_steps: a condition: a step that is kept refers to the workflow `held`.   in: workflow_steps_first_kept, first_timed
-- A step without a time holds its workflow for as long as the ledger has its row: it came within the ledger's keep-time.
exists (
  select from workflow_steps as step
  where step.workflow_id = held.id and (
    step.id >= %(workflow_steps_first_kept)s::uuid
    or step.id < %(first_timed)s::uuid and exists (
      select from operations as claim
      where claim.operation_id = step.id and claim.operation_id < %(first_timed)s::uuid)))
