-- holding_stamps: a condition: a stamp that is kept refers to the workflow `held`.
-- in: metadata_stamps_first_kept, metadata_stamps_cut, first_timed
exists (
  select from metadata_stamps as stamp
  where stamp.workflow_id = held.id and (
    stamp.id < %(first_timed)s::uuid or stamp.id >= %(metadata_stamps_first_kept)s::uuid
    or stamp.created_at >= %(metadata_stamps_cut)s::timestamptz))
