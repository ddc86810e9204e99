-- Undoes 022. The newest tick of each schedule is run once more afterwards, which does no harm.
drop table if exists schedule_ticks;
