-- rows_per_table: the planner's estimate of each table's rows, partitions added up (-1 counts as 0: never analysed)
select root.relname as table_name, sum(greatest(leaf.reltuples, 0))::bigint as estimated_rows
from pg_class as root
cross join lateral pg_partition_tree(root.oid) as tree
join pg_class as leaf on leaf.oid = tree.relid
where root.relnamespace = current_schema()::regnamespace and root.relkind = 'p' and tree.isleaf
group by root.relname
union all
select relname, greatest(reltuples, 0)::bigint from pg_class
where relnamespace = current_schema()::regnamespace and relkind = 'r' and not relispartition and relname <> 'alembic_version'
order by 1
