-- merge_bridge_states: of each bridge the newest snapshot, and on top of its totals what was contributed.
-- in:  rows, a JSON array of {bridge_id, namespace, snapshot, contribution, added_workflows, added_items, added_bytes, and the
--      fields of a bridge state}, at most one per (bridge_id, namespace). `snapshot` and `contribution` are clocks and sort as
--      (time; operation_id); null where the row brings none. current_fsm_state, aggregation_metadata and
--      last_aggregation_timestamp are those of the greater clock, all other fields the snapshot's.
-- The totals of a row are the visible ones: without what was contributed they are those of the newest snapshot.
-- A generic write of a row that stands gives single columns clocks of their own: `own` are those that this row does not
-- outdo. Their columns stay as they are, and the others' clocks go. Where nobody wrote so, there are none, and they cost nothing.
insert into bridge_states as held (
  bridge_id, namespace, clocks, current_fsm_state, aggregation_metadata, last_aggregation_timestamp,
  contributed_workflows_processed, contributed_items_aggregated, contributed_size_bytes, total_workflows_processed,
  total_items_aggregated, total_size_bytes, unique_file_types, unique_workflows, aggregation_type, window_start, window_end,
  aggregation_duration_ms, items_per_second, version, configuration, node_type, correlation_id, state_data, metadata)
select
  given.bridge_id, given.namespace,
  jsonb_strip_nulls(jsonb_build_object('snapshot', given.snapshot, 'contribution', given.contribution)),
  given.current_fsm_state, coalesce(given.aggregation_metadata, '{}'), given.last_aggregation_timestamp,
  coalesce(given.added_workflows, 0), coalesce(given.added_items, 0), coalesce(given.added_bytes, 0),
  coalesce(given.total_workflows_processed, 0) + coalesce(given.added_workflows, 0),
  coalesce(given.total_items_aggregated, 0) + coalesce(given.added_items, 0),
  coalesce(given.total_size_bytes, 0) + coalesce(given.added_bytes, 0),
  coalesce(given.unique_file_types, '{}'), coalesce(given.unique_workflows, '{}'),
  coalesce(given.aggregation_type, 'namespace_grouping'), given.window_start, given.window_end,
  given.aggregation_duration_ms, given.items_per_second, coalesce(given.version, 1), coalesce(given.configuration, '{}'),
  given.node_type, given.correlation_id, coalesce(given.state_data, '{}'), coalesce(given.metadata, '{}')
from jsonb_to_recordset(%(rows)s::jsonb) as given (
  bridge_id uuid, namespace text, snapshot text, contribution text, added_workflows bigint, added_items bigint,
  added_bytes bigint, current_fsm_state text, total_workflows_processed bigint, total_items_aggregated bigint,
  aggregation_metadata jsonb, last_aggregation_timestamp timestamptz, total_size_bytes bigint, unique_file_types text[],
  unique_workflows uuid[], aggregation_type text, window_start timestamptz, window_end timestamptz,
  aggregation_duration_ms integer, items_per_second numeric, version integer, configuration jsonb, node_type text,
  correlation_id uuid, state_data jsonb, metadata jsonb)
order by given.bridge_id, given.namespace
on conflict (bridge_id, namespace) do update set
  (clocks, current_fsm_state, aggregation_metadata, last_aggregation_timestamp, contributed_workflows_processed,
   contributed_items_aggregated, contributed_size_bytes, total_workflows_processed, total_items_aggregated, total_size_bytes,
   unique_file_types, unique_workflows, aggregation_type, window_start, window_end, aggregation_duration_ms,
   items_per_second, version, configuration, node_type, correlation_id, state_data, metadata) = (
    select
      jsonb_strip_nulls(jsonb_build_object(
        'snapshot', greatest(held.clocks ->> 'snapshot' collate "C", excluded.clocks ->> 'snapshot' collate "C"),
        'contribution', greatest(held.clocks ->> 'contribution' collate "C", excluded.clocks ->> 'contribution' collate "C"))) || own,
      case when newest and not own ? 'current_fsm_state' then excluded.current_fsm_state else held.current_fsm_state end,
      case when newest and not own ? 'aggregation_metadata' then excluded.aggregation_metadata else held.aggregation_metadata end,
      case when newest and not own ? 'last_aggregation_timestamp'
        then excluded.last_aggregation_timestamp else held.last_aggregation_timestamp end,
      held.contributed_workflows_processed + excluded.contributed_workflows_processed,
      held.contributed_items_aggregated + excluded.contributed_items_aggregated,
      held.contributed_size_bytes + excluded.contributed_size_bytes,
      case when replaces and not own ? 'total_workflows_processed'
        then excluded.total_workflows_processed + held.contributed_workflows_processed
        else held.total_workflows_processed + excluded.contributed_workflows_processed end,
      case when replaces and not own ? 'total_items_aggregated'
        then excluded.total_items_aggregated + held.contributed_items_aggregated
        else held.total_items_aggregated + excluded.contributed_items_aggregated end,
      case when replaces and not own ? 'total_size_bytes'
        then excluded.total_size_bytes + held.contributed_size_bytes
        else held.total_size_bytes + excluded.contributed_size_bytes end,
      case when replaces and not own ? 'unique_file_types' then excluded.unique_file_types else held.unique_file_types end,
      case when replaces and not own ? 'unique_workflows' then excluded.unique_workflows else held.unique_workflows end,
      case when replaces and not own ? 'aggregation_type' then excluded.aggregation_type else held.aggregation_type end,
      case when replaces and not own ? 'window_start' then excluded.window_start else held.window_start end,
      case when replaces and not own ? 'window_end' then excluded.window_end else held.window_end end,
      case when replaces and not own ? 'aggregation_duration_ms' then excluded.aggregation_duration_ms else held.aggregation_duration_ms end,
      case when replaces and not own ? 'items_per_second' then excluded.items_per_second else held.items_per_second end,
      case when replaces and not own ? 'version' then excluded.version else held.version end,
      case when replaces and not own ? 'configuration' then excluded.configuration else held.configuration end,
      case when replaces and not own ? 'node_type' then excluded.node_type else held.node_type end,
      case when replaces and not own ? 'correlation_id' then excluded.correlation_id else held.correlation_id end,
      case when replaces and not own ? 'state_data' then excluded.state_data else held.state_data end,
      case when replaces and not own ? 'metadata' then excluded.metadata else held.metadata end
    from (
      select
        excluded.clocks ->> 'snapshot' > coalesce(held.clocks ->> 'snapshot', '') collate "C",
        greatest(excluded.clocks ->> 'snapshot' collate "C", excluded.clocks ->> 'contribution' collate "C")
          > greatest(held.clocks ->> 'snapshot' collate "C", held.clocks ->> 'contribution' collate "C", ''),
        case when held.clocks - array['snapshot', 'contribution'] = '{}' then '{}' else (
          select coalesce(jsonb_object_agg(key, value), '{}')
          from jsonb_each_text(held.clocks - array['snapshot', 'contribution'])
          where value > greatest(
            held.clocks ->> 'snapshot' collate "C", excluded.clocks ->> 'snapshot' collate "C",
            case when key in ('current_fsm_state', 'aggregation_metadata', 'last_aggregation_timestamp') then greatest(
              held.clocks ->> 'contribution' collate "C", excluded.clocks ->> 'contribution' collate "C") end, '')) end
      -- keeps the planner from working all of it out again for every column
      offset 0
    ) as said (replaces, newest, own)),
  row_version = held.row_version + 1,
  updated_at = now()
where excluded.clocks ? 'contribution' or excluded.clocks ->> 'snapshot' > coalesce(held.clocks ->> 'snapshot', '') collate "C"
