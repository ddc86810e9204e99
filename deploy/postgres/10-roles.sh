#!/usr/bin/env bash
# Run once by the PostgreSQL image, when it has made a new database.
set -euo pipefail
psql --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" --set ON_ERROR_STOP=1 \
  --set worker_password="$WORKER_PASSWORD" --file /deploy/roles.sql
