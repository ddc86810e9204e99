-- Undoes 028.
drop function if exists fsm_held(text, uuid, text, uuid);
drop function if exists fsm_told(text, uuid, text, uuid);
drop function if exists node_item(node_registrations, timestamptz, interval, interval, bigint);
drop function if exists is_timely(bigint, bigint, bigint, bigint);
