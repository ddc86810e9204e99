#!/usr/bin/env bash
# The migrations by hand: apply_migrations.sh up | down | status
#   up      every revision that is missing           (alembic upgrade head)
#   down    every revision, with all data            (alembic downgrade base)
#   status  which revisions there are, which is current
# The database is OMNINODE_DATABASE_URL, else what PGHOST, PGPORT, PGDATABASE, PGUSER and PGPASSWORD say.
# Exit code: 0 done, 1 failed, 2 called wrongly.
set -u

usage() {
  echo "usage: $0 up | down | status" >&2
  exit 2
}

[ $# -eq 1 ] || usage
case $1 in
  up) arguments=(upgrade head) ;;
  down) arguments=(downgrade base) ;;
  status) arguments=(history --indicate-current) ;;
  *) usage ;;
esac

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd) || exit 1
if [ -x "$root/.venv/bin/python" ]; then
  alembic=("$root/.venv/bin/python" -m alembic)
elif command -v alembic >/dev/null; then
  alembic=(alembic)
else
  echo "$0: no alembic, neither in $root/.venv nor on the PATH: run make setup" >&2
  exit 1
fi

"${alembic[@]}" -c "$root/alembic.ini" "${arguments[@]}" || exit 1
