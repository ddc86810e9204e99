#!/usr/bin/env bash
# Writes the lock files from pyproject.toml: versions and hashes for every supported Python and platform, no addresses.
#   requirements.lock         everything: client, fleet, embedded servers, development tools
#   requirements-fleet.lock   what the image needs: client and fleet; the same versions as above
# Versions already locked are kept; `scripts/lock.sh --upgrade` takes newer ones. Needs the package index.
set -euo pipefail
cd "$(dirname "$0")/.."

if ! command -v uv >/dev/null; then
  tools=$(mktemp -d)
  trap 'rm -rf "$tools"' EXIT
  "${PYTHON:-python3}" -m venv "$tools"
  "$tools/bin/python" -m pip --disable-pip-version-check --no-input --quiet install uv
  PATH="$tools/bin:$PATH"
fi

compile() {
  uv pip compile --quiet --universal --generate-hashes --python-version 3.11 --no-annotate --no-header "$@" pyproject.toml
}

compile --group dev --all-extras "$@" -o requirements.lock
# Upgrades arrive through the first lock, which is the second one's constraint.
compile --extra fleet --extra kafka --upgrade --constraint requirements.lock -o requirements-fleet.lock

if grep -n '://' requirements.lock requirements-fleet.lock; then
  echo "a lock file holds an address" >&2
  exit 1
fi
