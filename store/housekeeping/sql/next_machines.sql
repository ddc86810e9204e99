-- next_machines: how far the next portion of state machines reaches, in the order of their keys.
-- in:  type, id (the last key of the portion before; '' and zeros at first), rows_limit
-- out: entity_type, entity_id of the portion's last machine; no row when there is none left
-- A machine is known by its state or by its transitions; both are read in the order of an index, as far as needed.
select entity_type, entity_id
from (
  select entity_type, entity_id
  from (
    (select entity_type, entity_id from fsm_states
     where (entity_type, entity_id) > (%(type)s::text, %(id)s::uuid)
     order by entity_type, entity_id limit %(rows_limit)s::integer)
    union
    (select distinct entity_type, entity_id from fsm_transitions
     where (entity_type, entity_id) > (%(type)s::text, %(id)s::uuid)
     order by entity_type, entity_id limit %(rows_limit)s::integer)
  ) as machine
  order by entity_type, entity_id
  limit %(rows_limit)s::integer
) as portion
order by entity_type desc, entity_id desc
limit 1
