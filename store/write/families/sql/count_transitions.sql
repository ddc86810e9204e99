-- count_transitions: how many transitions some state machines have made; one without any is left out.
-- in: entity_type, entity_id, two arrays of equal length
select held.entity_type, held.entity_id, count(*)
from unnest(%(entity_type)s::text[], %(entity_id)s::uuid[]) as given (entity_type, entity_id)
join fsm_transitions as held on held.entity_type = given.entity_type and held.entity_id = given.entity_id
group by held.entity_type, held.entity_id
