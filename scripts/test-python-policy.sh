#!/usr/bin/env bash
# A policy in Python, of 18 MB, from its source to a certificate. The toolchain is a package of PyPI, in a folder of its own.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
out=$root/.build/python-policy
version=0.25.1
if [ ! -e "$out/venv/$version" ]; then
  rm -rf "$out"
  python3 -m venv "$out/venv"
  "$out/venv/bin/pip" install --quiet "componentize-py==$version"
  : > "$out/venv/$version"
fi
cd "$root/tests/python/policy"
# It writes no bindings beside the source.
PYTHONDONTWRITEBYTECODE=1 "$out/venv/bin/componentize-py" -d "$root/policy-wasm/wit" -w policy \
  componentize app -o "$out/python-team.wasm" --stub-wasi
cd "$root"
cargo build --workspace --bin sealwright
SEALWRIGHT_PYTHON_POLICY=$out/python-team.wasm exec cargo test --workspace --test integration -- \
  --ignored --nocapture policy_sets::large::
