-- open_dead_letters: how many wait, by code
select code, count(*) as letters, min(created_at) as oldest from dead_letters where status = 'open' group by code order by code
