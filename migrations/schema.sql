-- The schema that the migrations build, without the partitions of single days. Not run by anything: it is here to be
-- read, and for the tests to compare with. Made by: python -m migrations.dump_schema

set check_function_bodies = off;

CREATE OR REPLACE FUNCTION clock_text(instant timestamp with time zone, id uuid)
 RETURNS text
 LANGUAGE sql
 STABLE PARALLEL SAFE
AS $function$
  select lpad(to_hex(((extract(epoch from instant) + 62135596800) * 1000000)::bigint), 16, '0') || replace(id::text, '-', '')
$function$;

CREATE OR REPLACE FUNCTION drop_partition(parent text, day date)
 RETURNS jsonb
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET lock_timeout TO '3s'
 SET enable_seqscan TO 'off'
 SET search_path TO 'public', 'pg_temp'
AS $function$
declare
  most_moved constant integer := 1000;
  name constant text := parent || to_char(day, '"_p"YYYYMMDD');
  bytes bigint;
  waiting bigint := 0;
begin
  if not has_table_privilege(session_user, 'operations', 'delete') then
    raise insufficient_privilege using message = 'only a role that may delete operations drops partitions';
  end if;
  if parent is null or parent not in ('operations', 'workflow_steps', 'fsm_transitions', 'event_logs') then
    raise invalid_parameter_value using message = 'parent must be a table that is partitioned by day';
  end if;
  if day is null or day >= (now() at time zone 'UTC')::date then
    raise invalid_parameter_value using message = 'day must be before today';
  end if;

  perform pg_advisory_xact_lock(hashtextextended('ensure_partitions', 0));
  if not exists (
    select from pg_inherits where inhparent = parent::regclass and inhrelid = to_regclass(quote_ident(name))
  ) then
    return jsonb_build_object('dropped', false, 'pending', 0);
  end if;
  bytes := pg_total_relation_size(name::regclass);
  execute format('lock table %I, %I in share update exclusive mode', name, parent || '_default');

  perform set_config('lock_timeout', '40ms', true);
  execute format('lock table only %I in access exclusive mode', parent);
  execute format('lock table %I in access exclusive mode', name);
  execute format('lock table %I in access exclusive mode', parent || '_default');
  if parent = 'event_logs' then
    execute format(
      'select count(*) from (select from %I where direction = ''out'' and status = ''pending'' limit %s) as few',
      name, most_moved + 1) into waiting;
    if waiting > most_moved then
      return jsonb_build_object('dropped', false, 'pending', waiting);
    end if;
    execute format('alter table event_logs detach partition %I', name);
    execute format('insert into event_logs select * from %I where direction = ''out'' and status = ''pending''', name);
  end if;
  execute format('drop table %I', name);
  insert into dropped_days as held (parent, last_day) values (drop_partition.parent, drop_partition.day)
  on conflict on constraint dropped_days_pkey do update set last_day = greatest(held.last_day, excluded.last_day);
  return jsonb_build_object('dropped', true, 'bytes', bytes, 'moved', waiting);
end
$function$;

CREATE OR REPLACE FUNCTION ensure_partitions(days_back integer, days_ahead integer)
 RETURNS integer
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET lock_timeout TO '30s'
 SET search_path TO 'public', 'pg_temp'
AS $function$
declare
  today constant date := (now() at time zone 'UTC')::date;
  missing cursor for
    select
      parent.name as parent,
      parent.key,
      parent.name || '_default' as default_name,
      parent.name || to_char(day, '"_p"YYYYMMDD') as name,
      (lpad(to_hex((extract(epoch from day) * 1000)::bigint), 12, '0') || repeat('0', 20))::uuid as first_id,
      (lpad(to_hex((extract(epoch from day + 1) * 1000)::bigint), 12, '0') || repeat('0', 20))::uuid as end_id
    from (values
      (1, 'operations', 'operation_id'), (2, 'workflow_steps', 'id'), (3, 'fsm_transitions', 'id'), (4, 'event_logs', 'id')
    ) as parent (place, name, key)
    cross join generate_series(-days_back, days_ahead) as distance
    cross join lateral (values (today + distance)) as days (day)
    where not exists (
      select from pg_inherits
      join pg_class as child on child.oid = pg_inherits.inhrelid
      where pg_inherits.inhparent = parent.name::regclass
        and child.relname = parent.name || to_char(day, '"_p"YYYYMMDD'))
    order by parent.place, day;
  made integer := 0;
begin
  if not has_table_privilege(session_user, 'operations', 'insert') then
    raise insufficient_privilege using message = 'only a role that may write operations makes partitions';
  end if;
  if days_back is null or days_ahead is null or days_back not between 0 and 366 or days_ahead not between 0 and 366 then
    raise invalid_parameter_value using message = 'days_back and days_ahead must be from 0 to 366';
  end if;

  -- One at a time; whoever comes second finds everything made.
  perform pg_advisory_xact_lock(hashtextextended('ensure_partitions', 0));
  perform set_config('lock_timeout', '500ms', true);

  for partition in missing loop
    execute format(
      'create table %I (like %I including defaults including constraints including indexes including storage)',
      partition.name, partition.parent);
    made := made + 1;
  end loop;

  for partition in missing loop
    if partition.parent = 'workflow_steps' then
      lock table workflow_executions in share row exclusive mode;
    end if;
    execute format('lock table %I in access exclusive mode', partition.default_name);
    execute format(
      'with moved as (delete from %I where %I >= %L and %I < %L returning *) insert into %I select * from moved',
      partition.default_name, partition.key, partition.first_id, partition.key, partition.end_id, partition.name);
    execute format(
      'alter table %I attach partition %I for values from (%L) to (%L)',
      partition.parent, partition.name, partition.first_id, partition.end_id);
  end loop;
  return made;
end
$function$;

CREATE OR REPLACE FUNCTION fsm_held(after_type text, after_id uuid, last_type text, last_id uuid)
 RETURNS TABLE(entity_type text, entity_id uuid, current_state text, previous_state text, last_transition_at timestamp with time zone, clock text, transition_count bigint, is_whole boolean)
 LANGUAGE sql
 STABLE
AS $function$
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
$function$;

CREATE OR REPLACE FUNCTION fsm_told(after_type text, after_id uuid, last_type text, last_id uuid)
 RETURNS TABLE(entity_type text, entity_id uuid, to_state text, from_state text, transition_at timestamp with time zone, metadata jsonb, clock text, transitions bigint, first_id uuid)
 LANGUAGE sql
 STABLE
AS $function$
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
$function$;

CREATE OR REPLACE FUNCTION is_timely(latest bigint, counted bigint, future_limit_ms bigint, horizon_ms bigint)
 RETURNS boolean
 LANGUAGE sql
AS $function$
  select (latest is null or latest <= extract(epoch from clock_timestamp()) * 1000 + future_limit_ms)
    and (counted is null or counted >= extract(epoch from clock_timestamp()) * 1000 - horizon_ms)
$function$;

CREATE OR REPLACE FUNCTION node_health(reported text, liveness text)
 RETURNS text
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
AS $function$ select case liveness when 'FRESH' then reported when 'STALE' then 'DEGRADED' else 'UNHEALTHY' end $function$;

CREATE OR REPLACE FUNCTION node_heard(last_heartbeat timestamp with time zone, received timestamp with time zone, registered timestamp with time zone)
 RETURNS timestamp with time zone
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
AS $function$ select coalesce(least(last_heartbeat, received), registered) $function$;

CREATE OR REPLACE FUNCTION node_liveness(heard timestamp with time zone, at timestamp with time zone, fresh_for interval, dead_after interval)
 RETURNS text
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
AS $function$ select case when at - heard <= fresh_for then 'FRESH' when at - heard <= dead_after then 'STALE' else 'DEAD' end $function$;

CREATE OR REPLACE FUNCTION row_within(item jsonb, most_bytes bigint)
 RETURNS jsonb
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
AS $function$
  select case when octet_length(item::text) <= most_bytes then item else (
    select
      jsonb_object_agg(key, value) filter (where octet_length(value::text) <= 8192)
      || jsonb_build_object('omitted', jsonb_agg(key order by key collate "C") filter (where octet_length(value::text) > 8192))
    from jsonb_each(item)
  ) end
$function$;

CREATE OR REPLACE FUNCTION uuid_v7()
 RETURNS uuid
 LANGUAGE sql
 PARALLEL SAFE
AS $function$
  select encode(
    set_bit(set_bit(
      overlay(
        uuid_send(gen_random_uuid())
        placing substring(int8send(floor(extract(epoch from clock_timestamp()) * 1000)::bigint) from 3)
        from 1 for 6),
      52, 1), 53, 1),
    'hex')::uuid
$function$;

create sequence event_logs_seq as bigint;

create table bridge_states (
  bridge_id uuid not null,
  namespace character varying(255) not null,
  total_workflows_processed bigint not null default 0,
  total_items_aggregated bigint not null default 0,
  aggregation_metadata jsonb not null default '{}'::jsonb,
  current_fsm_state character varying(50) not null,
  last_aggregation_timestamp timestamp with time zone,
  created_at timestamp with time zone not null default now(),
  updated_at timestamp with time zone not null default now(),
  total_size_bytes bigint not null default 0,
  unique_file_types text[] not null default '{}'::text[],
  unique_workflows uuid[] not null default '{}'::uuid[],
  aggregation_type character varying(50) default 'namespace_grouping'::character varying,
  window_start timestamp with time zone,
  window_end timestamp with time zone,
  aggregation_duration_ms integer,
  items_per_second numeric(10,2),
  version integer not null default 1,
  configuration jsonb not null default '{}'::jsonb,
  node_type character varying(100),
  correlation_id uuid,
  state_data jsonb default '{}'::jsonb,
  metadata jsonb default '{}'::jsonb,
  contributed_workflows_processed bigint not null default 0,
  contributed_items_aggregated bigint not null default 0,
  contributed_size_bytes bigint not null default 0,
  clocks jsonb not null default '{}'::jsonb,
  row_version bigint not null default 1,
  constraint bridge_states_pkey PRIMARY KEY (bridge_id, namespace),
  constraint bridge_states_aggregation_duration_ms_check CHECK ((aggregation_duration_ms >= 0)),
  constraint bridge_states_items_per_second_check CHECK ((items_per_second >= (0)::numeric)),
  constraint bridge_states_total_items_aggregated_check CHECK ((total_items_aggregated >= 0)),
  constraint bridge_states_total_size_bytes_check CHECK ((total_size_bytes >= 0)),
  constraint bridge_states_total_workflows_processed_check CHECK ((total_workflows_processed >= 0)),
  constraint bridge_states_version_check CHECK ((version >= 1))
) with (fillfactor=70);
CREATE INDEX idx_bridge_states_active ON bridge_states USING btree (node_type, current_fsm_state) WHERE ((current_fsm_state)::text <> ALL (ARRAY['IDLE'::text, 'COMPLETED'::text]));
CREATE INDEX idx_bridge_states_namespace_created_at ON bridge_states USING btree (namespace, created_at DESC);
CREATE INDEX idx_bridge_states_namespace_state ON bridge_states USING btree (namespace, current_fsm_state);

create table dead_letters (
  id uuid not null,
  digest bytea not null,
  operation_type text,
  correlation_id uuid,
  code text not null,
  message text not null,
  payload text not null,
  form character varying(10) not null,
  source text,
  topic text,
  partition_key text,
  status character varying(10) not null default 'open'::character varying,
  created_at timestamp with time zone not null default now(),
  resolved_at timestamp with time zone,
  constraint dead_letters_pkey PRIMARY KEY (id, digest),
  constraint dead_letters_form_check CHECK (((form)::text = ANY (ARRAY['operation'::text, 'record'::text, 'event'::text]))),
  constraint dead_letters_status_check CHECK (((status)::text = ANY (ARRAY['open'::text, 'retried'::text, 'discarded'::text])))
);
CREATE INDEX idx_dead_letters_status_created_at ON dead_letters USING btree (status, created_at DESC);

create table dropped_days (
  parent text not null,
  last_day date not null,
  constraint dropped_days_pkey PRIMARY KEY (parent),
  constraint chk_dropped_days_parent CHECK ((parent = ANY (ARRAY['operations'::text, 'workflow_steps'::text, 'fsm_transitions'::text, 'event_logs'::text])))
);

create table event_logs (
  id uuid not null,
  event_type character varying(100) not null,
  correlation_id uuid,
  session_id uuid,
  direction character varying(3) not null default 'in'::character varying,
  topic character varying(255),
  partition_key text,
  payload jsonb not null,
  envelope jsonb,
  metadata jsonb not null default '{}'::jsonb,
  status character varying(20) not null default 'recorded'::character varying,
  attempts integer not null default 0,
  published_at timestamp with time zone,
  seq bigint,
  created_at timestamp with time zone not null default now(),
  shard smallint,
  constraint event_logs_pkey PRIMARY KEY (id),
  constraint event_logs_direction_check CHECK (((direction)::text = ANY (ARRAY['in'::text, 'out'::text])))
) partition by RANGE (id);
create table event_logs_default partition of event_logs default;
CREATE INDEX idx_event_logs_correlation_id ON event_logs USING btree (correlation_id);
CREATE INDEX idx_event_logs_error ON event_logs USING btree (created_at DESC) WHERE (payload ? 'error'::text);
CREATE INDEX idx_event_logs_outbox ON event_logs USING btree (seq) INCLUDE (shard) WHERE (((direction)::text = 'out'::text) AND ((status)::text = 'pending'::text));
CREATE INDEX idx_event_logs_outbox_by_topic ON event_logs USING btree (topic, seq) INCLUDE (shard) WHERE ((status)::text = 'pending'::text);
CREATE INDEX idx_event_logs_session ON event_logs USING btree (session_id, created_at) WHERE (session_id IS NOT NULL);
CREATE INDEX idx_event_logs_type_created_at ON event_logs USING btree (event_type, created_at DESC);

create table fsm_states (
  entity_type character varying(100) not null,
  entity_id uuid not null,
  current_state character varying(50) not null,
  previous_state character varying(50),
  transition_count bigint not null,
  last_transition_at timestamp with time zone not null,
  updated_at timestamp with time zone not null default now(),
  clock text collate "C" not null,
  metadata jsonb not null default '{}'::jsonb,
  first_transition_id uuid,
  constraint fsm_states_pkey PRIMARY KEY (entity_type, entity_id),
  constraint fsm_states_transition_count_check CHECK ((transition_count >= 0))
) with (fillfactor=80);
CREATE INDEX idx_fsm_states_recovery ON fsm_states USING btree (entity_type, last_transition_at DESC, entity_id DESC);

create table fsm_transitions (
  id uuid not null,
  entity_id uuid not null,
  entity_type character varying(100) not null,
  from_state character varying(50),
  to_state character varying(50) not null,
  transition_event character varying(100) not null,
  transition_data jsonb not null default '{}'::jsonb,
  transition_at timestamp with time zone not null default now(),
  created_at timestamp with time zone not null default now(),
  triggered_by character varying(100),
  metadata jsonb default '{}'::jsonb,
  row_version bigint not null default 1,
  constraint fsm_transitions_pkey PRIMARY KEY (id)
) partition by RANGE (id);
create table fsm_transitions_default partition of fsm_transitions default;
CREATE INDEX idx_fsm_transitions_entity ON fsm_transitions USING btree (entity_type, entity_id, transition_at);
CREATE INDEX idx_fsm_transitions_to_state ON fsm_transitions USING btree (to_state, transition_at DESC);

create table metadata_stamps (
  id uuid not null default uuid_v7(),
  workflow_id uuid,
  file_hash character varying(128),
  stamp_data jsonb not null,
  namespace character varying(255) not null default 'unknown'::character varying,
  created_at timestamp with time zone not null default now(),
  stamp_id character varying(255),
  file_metadata jsonb default '{}'::jsonb,
  intelligence_data jsonb default '{}'::jsonb,
  metadata_version character varying(10) default '0.1'::character varying,
  row_version bigint not null default 1,
  constraint metadata_stamps_pkey PRIMARY KEY (id)
);
CREATE INDEX idx_metadata_stamps_file ON metadata_stamps USING btree (file_hash, created_at DESC);
CREATE INDEX idx_metadata_stamps_intelligence ON metadata_stamps USING gin (intelligence_data jsonb_path_ops) WHERE (intelligence_data <> '{}'::jsonb);
CREATE INDEX idx_metadata_stamps_namespace_created_at ON metadata_stamps USING btree (namespace, created_at DESC);
CREATE INDEX idx_metadata_stamps_stamp_id ON metadata_stamps USING btree (stamp_id);
CREATE INDEX idx_metadata_stamps_workflow_id ON metadata_stamps USING btree (workflow_id);

create table node_registrations (
  node_id character varying(255) not null,
  node_type character varying(100) not null default 'unknown'::character varying,
  node_version character varying(50) not null default 'unknown'::character varying,
  capabilities jsonb not null default '{}'::jsonb,
  endpoints jsonb not null default '{}'::jsonb,
  metadata jsonb not null default '{}'::jsonb,
  health_status character varying(50) not null default 'UNKNOWN'::character varying,
  last_heartbeat timestamp with time zone,
  registered_at timestamp with time zone not null default now(),
  updated_at timestamp with time zone not null default now(),
  endpoint_url character varying(500),
  liveness character varying(10) not null default 'FRESH'::character varying,
  clocks jsonb not null default '{}'::jsonb,
  row_version bigint not null default 1,
  heartbeat_received_at timestamp with time zone,
  liveness_announced character varying(10) not null default 'FRESH'::character varying,
  namespace character varying(255),
  deregistered_at timestamp with time zone,
  constraint node_registrations_pkey PRIMARY KEY (node_id),
  constraint node_registrations_liveness_announced_check CHECK (((liveness_announced)::text = ANY (ARRAY['FRESH'::text, 'STALE'::text, 'DEAD'::text]))),
  constraint node_registrations_liveness_check CHECK (((liveness)::text = ANY (ARRAY['FRESH'::text, 'STALE'::text, 'DEAD'::text])))
) with (fillfactor=50);
CREATE INDEX idx_node_registrations_type_health ON node_registrations USING btree (node_type, health_status);

create table operation_attempts (
  operation_id uuid not null,
  operation_type text not null,
  scope text not null,
  attempts integer not null default 1,
  reason text not null,
  first_at timestamp with time zone not null default clock_timestamp(),
  last_at timestamp with time zone not null default clock_timestamp(),
  constraint operation_attempts_pkey PRIMARY KEY (operation_id),
  constraint operation_attempts_scope_check CHECK ((scope = ANY (ARRAY['row'::text, 'table'::text, 'lock'::text])))
);
CREATE INDEX idx_operation_attempts_last_at ON operation_attempts USING btree (last_at);

create table operations (
  operation_id uuid not null,
  correlation_id uuid,
  claimed_at timestamp with time zone not null default clock_timestamp(),
  operation_type text not null,
  outcome text not null,
  digest bytea not null,
  code text,
  result jsonb,
  constraint operations_pkey PRIMARY KEY (operation_id),
  constraint operations_outcome_check CHECK ((outcome = ANY (ARRAY['applied'::text, 'refused'::text])))
) partition by RANGE (operation_id);
create table operations_default partition of operations default;
CREATE INDEX idx_operations_claimed_at ON operations USING brin (claimed_at) WITH (autosummarize='on');

create table schedule_ticks (
  name character varying(50) not null,
  due_at timestamp with time zone not null,
  outcome text not null,
  started_at timestamp with time zone not null default clock_timestamp(),
  ended_at timestamp with time zone,
  runs integer not null default 1,
  worked_ms bigint not null default 0,
  rows_touched bigint not null default 0,
  counts jsonb not null default '{}'::jsonb,
  error text,
  ran_by text,
  constraint schedule_ticks_pkey PRIMARY KEY (name, due_at),
  constraint schedule_ticks_outcome_check CHECK ((outcome = ANY (ARRAY['running'::text, 'done'::text, 'failed'::text])))
);

create table workflow_executions (
  id uuid not null default uuid_v7(),
  correlation_id uuid not null,
  workflow_type character varying(100) not null default 'unknown'::character varying,
  current_state character varying(50) not null default 'PENDING'::character varying,
  namespace character varying(255) not null default 'unknown'::character varying,
  started_at timestamp with time zone,
  completed_at timestamp with time zone,
  execution_time_ms integer,
  error_message text,
  metadata jsonb not null default '{}'::jsonb,
  created_at timestamp with time zone not null default now(),
  updated_at timestamp with time zone not null default now(),
  stamp_id character varying(255),
  file_hash character varying(128),
  workflow_steps jsonb default '[]'::jsonb,
  intelligence_data jsonb,
  hash_generation_time_ms integer,
  workflow_steps_executed integer default 0,
  session_id uuid,
  workflow_id uuid,
  input_data jsonb default '{}'::jsonb,
  output_data jsonb default '{}'::jsonb,
  error_info jsonb default '{}'::jsonb,
  clocks jsonb not null default '{}'::jsonb,
  row_version bigint not null default 1,
  stalled_at timestamp with time zone,
  constraint workflow_executions_pkey PRIMARY KEY (id),
  constraint workflow_executions_correlation_id_key UNIQUE (correlation_id),
  constraint workflow_executions_execution_time_ms_check CHECK ((execution_time_ms >= 0)),
  constraint workflow_executions_hash_generation_time_ms_check CHECK ((hash_generation_time_ms >= 0)),
  constraint workflow_executions_workflow_steps_executed_check CHECK ((workflow_steps_executed >= 0))
) with (fillfactor=80);
CREATE INDEX idx_workflow_executions_created_at ON workflow_executions USING btree (created_at DESC);
CREATE INDEX idx_workflow_executions_failed ON workflow_executions USING btree (completed_at DESC) WHERE ((current_state)::text = 'FAILED'::text);
CREATE INDEX idx_workflow_executions_failed_open ON workflow_executions USING btree (created_at DESC) WHERE (((current_state)::text = 'FAILED'::text) AND (completed_at IS NULL));
CREATE INDEX idx_workflow_executions_file_hash ON workflow_executions USING btree (file_hash) WHERE (file_hash IS NOT NULL);
CREATE INDEX idx_workflow_executions_namespace_state ON workflow_executions USING btree (namespace, current_state);
CREATE INDEX idx_workflow_executions_open ON workflow_executions USING btree (created_at) WHERE (((current_state)::text <> ALL (ARRAY['COMPLETED'::text, 'FAILED'::text])) OR (stalled_at IS NOT NULL));
CREATE INDEX idx_workflow_executions_session_id ON workflow_executions USING btree (session_id) WHERE (session_id IS NOT NULL);
CREATE INDEX idx_workflow_executions_stamp_id ON workflow_executions USING btree (stamp_id) WHERE (stamp_id IS NOT NULL);
CREATE INDEX idx_workflow_executions_started_at ON workflow_executions USING btree (started_at DESC);
CREATE INDEX idx_workflow_executions_workflow_id ON workflow_executions USING btree (workflow_id) WHERE (workflow_id IS NOT NULL);
CREATE INDEX idx_workflow_executions_workflow_type ON workflow_executions USING btree (workflow_type);

create table workflow_steps (
  id uuid not null,
  workflow_id uuid not null,
  step_name character varying(100) not null,
  step_order integer not null,
  status character varying(50) not null,
  execution_time_ms integer,
  step_data jsonb not null default '{}'::jsonb,
  error_message text,
  created_at timestamp with time zone not null default now(),
  step_type character varying(50),
  input_data jsonb default '{}'::jsonb,
  output_data jsonb default '{}'::jsonb,
  started_at timestamp with time zone,
  completed_at timestamp with time zone,
  row_version bigint not null default 1,
  constraint workflow_steps_pkey PRIMARY KEY (id),
  constraint workflow_steps_execution_time_ms_check CHECK ((execution_time_ms >= 0)),
  constraint workflow_steps_step_order_check CHECK ((step_order >= 0))
) partition by RANGE (id);
create table workflow_steps_default partition of workflow_steps default;
CREATE INDEX idx_workflow_steps_created_at ON workflow_steps USING btree (created_at DESC);
CREATE INDEX idx_workflow_steps_workflow_id_order ON workflow_steps USING btree (workflow_id, step_order);

CREATE OR REPLACE FUNCTION node_item(node node_registrations, at timestamp with time zone, fresh_for interval, dead_after interval, most_bytes bigint)
 RETURNS jsonb
 LANGUAGE sql
 STABLE
AS $function$
  select row_within(
    to_jsonb(node) - '{clocks,liveness_announced}'::text[] || jsonb_build_object(
      'liveness', found.liveness, 'health', node_health(node.health_status, found.liveness),
      'reported_health', node.health_status, 'age_s', greatest(extract(epoch from at - found.heard), 0)),
    most_bytes)
  from (select node_heard(node.last_heartbeat, node.heartbeat_received_at, node.registered_at)) as one (heard)
  cross join lateral (select one.heard, node_liveness(one.heard, at, fresh_for, dead_after)) as found (heard, liveness)
$function$;

alter table metadata_stamps add constraint metadata_stamps_workflow_id_fkey FOREIGN KEY (workflow_id) REFERENCES workflow_executions(id) ON DELETE SET NULL;
alter table workflow_steps add constraint workflow_steps_workflow_id_fkey FOREIGN KEY (workflow_id) REFERENCES workflow_executions(id) ON DELETE CASCADE;
