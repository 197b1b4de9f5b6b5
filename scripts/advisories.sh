#!/usr/bin/env bash
# Checks the advisories where their database can be fetched, and says so where it cannot.
set -uo pipefail
deny=$1
log=$(mktemp)
trap 'rm -f "$log"' EXIT
if timeout 60 "$deny" fetch db >"$log" 2>&1; then
  exec "$deny" --all-features check advisories
fi
echo "advisories: the database cannot be fetched from here; not checked"
