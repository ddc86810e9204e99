-- What several statements share. PostgreSQL writes these functions out where they are called: plain selects, without settings of
-- their own.

-- is_timely: whether an operation may be claimed by its times, in milliseconds since 1970, each null where it does not matter: the
-- latest of them is not too far ahead of the database's clock, and what counts by the ledger alone is not beyond its memory.
create or replace function is_timely(latest bigint, counted bigint, future_limit_ms bigint, horizon_ms bigint) returns boolean
language sql volatile
as $$
  select (latest is null or latest <= extract(epoch from clock_timestamp()) * 1000 + future_limit_ms)
    and (counted is null or counted >= extract(epoch from clock_timestamp()) * 1000 - horizon_ms)
$$;

-- node_item: a node as reports show it, at an instant: its columns, `liveness` then, health (effective), reported_health, age_s in
-- seconds; without its large columns where it is larger than most_bytes (row_within).
create or replace function node_item(
  node node_registrations, at timestamptz, fresh_for interval, dead_after interval, most_bytes bigint) returns jsonb
language sql stable
as $$
  select row_within(
    to_jsonb(node) - '{clocks,liveness_announced}'::text[] || jsonb_build_object(
      'liveness', found.liveness, 'health', node_health(node.health_status, found.liveness),
      'reported_health', node.health_status, 'age_s', greatest(extract(epoch from at - found.heard), 0)),
    most_bytes)
  from (select node_heard(node.last_heartbeat, node.heartbeat_received_at, node.registered_at)) as one (heard)
  cross join lateral (select one.heard, node_liveness(one.heard, at, fresh_for, dead_after)) as found (heard, liveness)
$$;

-- Of the machines of a portion: those after the key (after_type, after_id), up to (last_type, last_id), that one included.

-- fsm_told: what a machine's transitions say: its newest state, how many there are, the first of them.
create or replace function fsm_told(after_type text, after_id uuid, last_type text, last_id uuid)
returns table (
  entity_type text, entity_id uuid, to_state text, from_state text, transition_at timestamptz, metadata jsonb, clock text,
  transitions bigint, first_id uuid)
language sql stable
as $$
  select distinct on (moved.entity_type, moved.entity_id)
    moved.entity_type::text, moved.entity_id, moved.to_state::text, moved.from_state::text, moved.transition_at,
    coalesce(nullif(moved.metadata, '{}'), moved.transition_data),
    said.clock, count(*) over machine, first_value(moved.id) over (machine order by moved.id)
  from fsm_transitions as moved
  cross join lateral (select clock_text(moved.transition_at, moved.id) as text) as moment
  cross join lateral (
    select left(moment.text, 16)
      || case when moved.to_state = 'PENDING' then 1 when moved.to_state in ('COMPLETED', 'FAILED') then 4 else 2 end
      || right(moment.text, 32) as clock) as said
  where (moved.entity_type, moved.entity_id) > (after_type, after_id)
    and (moved.entity_type, moved.entity_id) <= (last_type, last_id)
  window machine as (partition by moved.entity_type, moved.entity_id)
  order by moved.entity_type, moved.entity_id, said.clock collate "C" desc
$$;

-- fsm_held: a machine's state as it stands, and whether all of its transitions are there: the day of the first that was counted
-- stands, and lies after the last day that was dropped. A day that stands alone may have been left, or made anew.
create or replace function fsm_held(after_type text, after_id uuid, last_type text, last_id uuid)
returns table (
  entity_type text, entity_id uuid, current_state text, previous_state text, last_transition_at timestamptz, clock text,
  transition_count bigint, is_whole boolean)
language sql stable
as $$
  select
    state.entity_type::text, state.entity_id, state.current_state::text, state.previous_state::text, state.last_transition_at,
    state.clock, state.transition_count::bigint,
    coalesce(
      to_regclass('fsm_transitions_p' || to_char(began.day, 'YYYYMMDD')) is not null
        and (gone_until.last_day is null or began.day > gone_until.last_day),
      false)
  from fsm_states as state
  cross join lateral (
    select (to_timestamp(('x' || left(replace(state.first_transition_id::text, '-', ''), 12))::bit(48)::bigint / 1000.0)
      at time zone 'UTC')::date as day) as began
  left join dropped_days as gone_until on gone_until.parent = 'fsm_transitions'
  where (state.entity_type, state.entity_id) > (after_type, after_id)
    and (state.entity_type, state.entity_id) <= (last_type, last_id)
$$;
