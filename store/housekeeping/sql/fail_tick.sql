-- fail_tick: say that a run of a tick failed; what its earlier portions did stays.
-- in: name, due_at, begun (1 when no portion of this run was committed, else 0), error, ran_by   out: nothing
insert into schedule_ticks as t (name, due_at, outcome, ended_at, runs, error, ran_by)
values (
  %(name)s::text, %(due_at)s::timestamptz, 'failed', clock_timestamp(), %(begun)s::integer, %(error)s::text, %(ran_by)s::text
)
on conflict (name, due_at) do update set
  outcome = excluded.outcome,
  ended_at = excluded.ended_at,
  runs = t.runs + excluded.runs,
  error = excluded.error,
  ran_by = excluded.ran_by
where t.outcome <> 'done'
