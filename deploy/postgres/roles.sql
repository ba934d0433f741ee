-- One database and one role for each application, which can do nothing in the other; a role that reads both for backups
-- and may make scratch databases to try them in; a role that sees statistics and no row.
\set tidemill_password `cat /run/secrets/postgres_password`
\set mlflow_password `cat /run/secrets/postgres_mlflow_password`
\set backup_password `cat /run/secrets/postgres_backup_password`
\set exporter_password `cat /run/secrets/postgres_exporter_password`

SELECT format('CREATE ROLE %I', wanted) FROM unnest(ARRAY['tidemill', 'mlflow', 'backup', 'exporter']) AS wanted
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = wanted) \gexec

ALTER ROLE tidemill LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE CONNECTION LIMIT 140 PASSWORD :'tidemill_password';
ALTER ROLE mlflow LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE CONNECTION LIMIT 30 PASSWORD :'mlflow_password';
ALTER ROLE backup LOGIN NOSUPERUSER CREATEDB NOCREATEROLE CONNECTION LIMIT 15 PASSWORD :'backup_password';
ALTER ROLE exporter LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE CONNECTION LIMIT 5 PASSWORD :'exporter_password';

SELECT format('CREATE DATABASE %I OWNER %I', wanted, wanted) FROM unnest(ARRAY['tidemill', 'mlflow']) AS wanted
WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = wanted) \gexec

REVOKE ALL ON DATABASE tidemill, mlflow, postgres FROM PUBLIC;
GRANT CONNECT ON DATABASE tidemill, mlflow, postgres TO backup;
GRANT CONNECT ON DATABASE tidemill, mlflow, postgres TO exporter;
GRANT tidemill, mlflow TO backup;
GRANT pg_monitor TO exporter;
