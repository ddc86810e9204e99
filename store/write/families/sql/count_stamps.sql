-- count_stamps: how many stamps some workflows have; a workflow without any is left out.   in: workflow_id, an array
select workflow_id, count(*)
from metadata_stamps
where workflow_id = any(%(workflow_id)s::uuid[])
group by workflow_id
