-- roles: what the fleet and its readers may do in this database.   in: psql variable worker_password
-- Run by the owner (the role that runs the migrations) in the fleet's database, before or after the migrations; may be
-- run again, for instance to change the password:
--   psql "$OWNER_URL" -v ON_ERROR_STOP=1 -v worker_password="$WORKER_PASSWORD" -f deploy/postgres/roles.sql
--
--   the owner          migrations only
--   omninode_worker    reads and writes rows; makes and drops no table
--   omninode_reader    reads; for people and reports: grant omninode_reader to somebody;

select 'create role omninode_worker login'
where not exists (select from pg_roles where rolname = 'omninode_worker') \gexec
select 'create role omninode_reader nologin'
where not exists (select from pg_roles where rolname = 'omninode_reader') \gexec

alter role omninode_worker password :'worker_password';

-- The schema of the fleet: the first on the owner's search path, as for the migrations.
select current_schema() as fleet_schema \gset

revoke create on schema :"fleet_schema" from public;
grant usage on schema :"fleet_schema" to omninode_worker, omninode_reader;

-- What stands already, and what later migrations of this owner add.
grant select, insert, update, delete on all tables in schema :"fleet_schema" to omninode_worker;
grant usage on all sequences in schema :"fleet_schema" to omninode_worker;
grant select on all tables in schema :"fleet_schema" to omninode_reader;
alter default privileges in schema :"fleet_schema" grant select, insert, update, delete on tables to omninode_worker;
alter default privileges in schema :"fleet_schema" grant usage on sequences to omninode_worker;
alter default privileges in schema :"fleet_schema" grant select on tables to omninode_reader;
