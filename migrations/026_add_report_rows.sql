-- What reports about single rows need: a workflow by the id that its producers call it by, and rows that fit into an answer.

-- trace_workflow: workflows by the id that they were told with, where they have one; not unique, since a workflow may run again
create index if not exists idx_workflow_executions_workflow_id on workflow_executions (workflow_id) where workflow_id is not null;

-- row_within(item, most_bytes): a row as it is, or, where its text is larger, without its columns of more than 8 KiB, whose
-- names are in `omitted` then. Of no table has a row more than 27 columns, so what is left is below 256 KiB.
create or replace function row_within(item jsonb, most_bytes bigint) returns jsonb
language sql immutable parallel safe
as $$
  select case when octet_length(item::text) <= most_bytes then item else (
    select
      jsonb_object_agg(key, value) filter (where octet_length(value::text) <= 8192)
      || jsonb_build_object('omitted', jsonb_agg(key order by key collate "C") filter (where octet_length(value::text) > 8192))
    from jsonb_each(item)
  ) end
$$;
