#!/usr/bin/env bash
# Tests with programs that nobody here wrote: Istio's own client library and pilot-agent, grpcurl, zlint, and a
# peer of nothing but Go's standard library. Building them takes some minutes, once; they are kept in .build/istio.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
programs=$root/.build/istio

if ! command -v go > /dev/null; then
  echo "test-istio: Go 1.26 or later is needed to build the programs (https://go.dev/dl; Debian: golang, where it is as new)" >&2
  exit 1
fi
wanted=$(sed -n 's/^go //p' "$root/tests/istio/go/go.mod")
has=$(go env GOVERSION | sed 's/^go//; s/[^0-9.].*//')
if [ "$(printf '%s\n' "$wanted" "$has" | sort -V | head -n 1)" != "$wanted" ]; then
  echo "test-istio: this is Go $has; the programs need $wanted or later (https://go.dev/dl)" >&2
  exit 1
fi

# build MODULE PACKAGE...: each PACKAGE of the module becomes a program.
build() {
  local module=$root/tests/$1
  shift
  (cd "$module" && CGO_ENABLED=0 nice -n 10 go build -p 2 -mod=readonly -trimpath -buildvcs=false \
    -gcflags=all=-dwarf=false -ldflags '-s -w' -o "$programs/" "$@")
}
mkdir -p "$programs"
echo "test-istio: building the programs (a cold cache takes some minutes)"
build go .
build istio/tools github.com/fullstorydev/grpcurl/cmd/grpcurl github.com/zmap/zlint/v3/cmd/zlint
build istio/go ./client istio.io/istio/pilot/cmd/pilot-agent

cd "$root"
# With the command's own test, which brings the binary, as `make test` builds them.
cargo test --workspace --test istio --test command --no-run
SEALWRIGHT_ISTIO_PROGRAMS=$programs \
  cargo test --workspace --test istio -- --ignored --test-threads 2 "$@"
