-- walk_in_order: for the rest of the transaction rows are read along an index, one after the other, and not gathered and sorted first.
-- A plan for any values cannot know that the first rows are enough: that the filters of a list let nearly everything pass, or that a
-- portion is small.
select set_config('enable_bitmapscan', 'off', true)
