-- fold_stamps: the stamps of some ids, as in fold_workflows.   in: id, an array
select
  id, workflow_id, file_hash, stamp_id, stamp_data, namespace, created_at, file_metadata, intelligence_data, metadata_version
from metadata_stamps
where id = any(%(id)s::uuid[])
