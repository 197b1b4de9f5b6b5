#!/usr/bin/env bash
# Tests against a real Kubernetes API server. Building it takes some minutes, once.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
box=$root/.build/kubebox

if ! command -v go > /dev/null; then
  echo "test-kube: Go is needed to build the API server (https://go.dev/dl)" >&2
  exit 1
fi
# The link reads some gigabytes of archives: from memory, where there is enough.
caches=
states=$(mktemp -d /tmp/kube.XXXXXX)
finish() {
  for state in "$states"/*/; do
    [ -d "$state" ] && "$root/tests/kube/box/down.sh" "$state"
  done
  rm -rf "$states"
  if [ -n "$caches" ]; then chmod -R u+w "$caches"; rm -rf "$caches"; fi
}
trap finish EXIT
free=$(df --output=avail -k /dev/shm 2> /dev/null | tail -n 1 || echo 0)
memory=$(awk '/^MemAvailable/ {print $2}' /proc/meminfo)
if [ ! -x "$box/kubebox" ] && [ "$free" -gt 6500000 ] && [ "$memory" -gt 10000000 ]; then
  caches=$(mktemp -d -p /dev/shm)
  export GOCACHE=$caches/cache GOMODCACHE=$caches/mod GOTMPDIR=$caches
fi
nice -n 15 "$root/tests/kube/box/build.sh" "$box"

cd "$root"
cargo build --bin sealwright
SEALWRIGHT_KUBEBOX=$box SEALWRIGHT_KUBE_STATES=$states \
  cargo test --package sealwright-tests --test kube -- --ignored --test-threads 2 "$@"
