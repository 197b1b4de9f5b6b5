#!/usr/bin/env bash
# Tests with parts that are not ours: a grpcio client made from the wire definitions, and a certificate linter.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
venv=$root/.build/venv
requirements=$root/tests/python/requirements.txt
if ! cmp -s "$requirements" "$venv/requirements.txt"; then
  rm -rf "$venv"
  python3 -m venv "$venv"
  "$venv/bin/pip" install --quiet -r "$requirements"
  cp "$requirements" "$venv/requirements.txt"
fi
exec "$venv/bin/python" -m pytest -q "$root/tests/python"
