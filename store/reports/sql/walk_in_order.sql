-- walk_in_order: for the rest of the transaction rows are read along an index, one after the other, and not gathered and sorted first.
-- A plan for any values cannot know that the filters of a list mostly let everything pass, and so that its first rows are enough.
select set_config('enable_bitmapscan', 'off', true)
