-- What was refused, with the reason, once per id and content. payload is text, because jsonb refuses some of what is
-- refused (NUL, lone surrogates, huge numbers).
create table if not exists dead_letters (
  id uuid,
  digest bytea,
  operation_type text,
  correlation_id uuid,
  code text not null,
  message text not null,
  payload text not null,
  form varchar(10) not null check (form::text in ('operation', 'record')),
  source text,
  topic text,
  partition_key text,
  status varchar(10) not null default 'open' check (status::text in ('open', 'retried', 'discarded')),
  created_at timestamptz not null default now(),
  resolved_at timestamptz,
  primary key (id, digest)
);

-- the letters that wait for somebody, newest first
create index if not exists idx_dead_letters_status_created_at on dead_letters (status, created_at desc);
