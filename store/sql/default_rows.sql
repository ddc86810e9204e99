-- default_rows: rows outside every day's partition, per table, counted no further than rows_limit, so that it stays cheap.   in: rows_limit
select 'operations' as table_name, count(*) from (select from operations_default limit %(rows_limit)s::bigint) as counted
union all
select 'workflow_steps', count(*) from (select from workflow_steps_default limit %(rows_limit)s::bigint) as counted
union all
select 'fsm_transitions', count(*) from (select from fsm_transitions_default limit %(rows_limit)s::bigint) as counted
union all
select 'event_logs', count(*) from (select from event_logs_default limit %(rows_limit)s::bigint) as counted
