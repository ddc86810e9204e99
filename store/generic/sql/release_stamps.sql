-- release_stamps: stamps of workflows that are about to be deleted lose their workflow, in key order; their versions rise.
-- in: ids uuid[], the workflows' row ids, which are held already
with held as materialized (
  select stamp.id from metadata_stamps as stamp
  where stamp.workflow_id = any(%(ids)s::uuid[])
  order by stamp.id
  for no key update
)
update metadata_stamps as stamp
set workflow_id = null, row_version = stamp.row_version + 1
from held
where stamp.id = held.id
