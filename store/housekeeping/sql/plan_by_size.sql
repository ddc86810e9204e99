-- plan_by_size: for the rest of this transaction plans may read tables whole, which the session's settings forbid.
select
  set_config('enable_seqscan', 'on', true), set_config('enable_hashjoin', 'on', true),
  set_config('enable_mergejoin', 'on', true), set_config('work_mem', '64MB', true)
