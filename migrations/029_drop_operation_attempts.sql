-- Undoes 029: an operation that fails afterwards is tried from the beginning.
drop table if exists operation_attempts;
