-- check_fsm_states: the machines of a portion whose state is not what their transitions say.
-- in:  type, id (exclusive) and last_type, last_id (inclusive): the portion
-- out: by key: kind (missing, surplus, differs, behind), then of state and of transitions: state, previous state, when it moved, count
-- All of a machine's history is there where the day of the first transition that was counted stands and lies after the last day that
-- was dropped: a day that stands alone may have been left, or made anew. Then both must be equal. Else fewer may be there than were
-- counted, but no more, and none that is newer.
with told as materialized (
  select distinct on (entity_type, entity_id)
    entity_type, entity_id, to_state, from_state, transition_at, coalesce(nullif(metadata, '{}'), transition_data) as metadata,
    said.clock, count(*) over machine as transitions, first_value(id) over (machine order by id) as first_id
  from fsm_transitions
  cross join lateral (select clock_text(transition_at, id) as text) as moment
  cross join lateral (
    select left(moment.text, 16)
      || case when to_state = 'PENDING' then 1 when to_state in ('COMPLETED', 'FAILED') then 4 else 2 end
      || right(moment.text, 32) as clock) as said
  where (entity_type, entity_id) > (%(type)s::text, %(id)s::uuid)
    and (entity_type, entity_id) <= (%(last_type)s::text, %(last_id)s::uuid)
  window machine as (partition by entity_type, entity_id)
  order by entity_type, entity_id, said.clock collate "C" desc
),
held as materialized (
  select
    fsm_states.*,
    coalesce(
      to_regclass('fsm_transitions_p' || to_char(began.day, 'YYYYMMDD')) is not null
        and (gone_until.last_day is null or began.day > gone_until.last_day),
      false) as is_whole
  from fsm_states
  cross join lateral (
    select (to_timestamp(('x' || left(replace(first_transition_id::text, '-', ''), 12))::bit(48)::bigint / 1000.0)
      at time zone 'UTC')::date as day) as began
  left join dropped_days as gone_until on gone_until.parent = 'fsm_transitions'
  where (entity_type, entity_id) > (%(type)s::text, %(id)s::uuid)
    and (entity_type, entity_id) <= (%(last_type)s::text, %(last_id)s::uuid)
)
select
  entity_type, entity_id,
  case
    when held.clock is null then 'missing'
    when told.clock is null then 'surplus'
    when held.is_whole then 'differs'
    else 'behind'
  end as kind,
  held.current_state, held.previous_state, held.last_transition_at, held.transition_count,
  told.to_state, told.from_state, told.transition_at, told.transitions
from held
full join told using (entity_type, entity_id)
where case
  when held.clock is null then true
  when held.is_whole then
    (held.current_state, held.previous_state, held.clock, held.transition_count)
    is distinct from (told.to_state, told.from_state, told.clock, told.transitions)
  else
    told.transitions > held.transition_count or told.clock > held.clock collate "C"
    or (told.clock = held.clock
      and (told.to_state, told.from_state) is distinct from (held.current_state, held.previous_state))
end
order by entity_type, entity_id
