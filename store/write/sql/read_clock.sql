-- read_clock: the database's clock, by which times are judged.   out: milliseconds since 1970
select floor(extract(epoch from clock_timestamp()) * 1000)::bigint
