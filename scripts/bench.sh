#!/usr/bin/env bash
# The figures of docs/performance.md, from one run: the whole path beside the token's own rate, at several
# depths and for two kinds of CA key; then what one decision and one record cost. Ratios are what counts:
# single figures say as much about the machine as about the program.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root"
duration=${BENCH_DURATION:-8s}
cargo build --release --bin sealwright --bin csign
bin=$root/target/release

echo "machine: $(nproc) processors, $(sed -n 's/^model name.*: //p' /proc/cpuinfo | head -1), load $(cut -d ' ' -f 1-3 /proc/loadavg)"
for algorithm in p256 p384; do
  for depth in 1 16 64; do
    echo "== CA key $algorithm, $depth in flight"
    "$bin/sealwright" bench --algorithm "$algorithm" --in-flight "$depth" --duration "$duration" \
      --csign "$bin/csign" --output json
  done
done

measure() {
  echo "== $1"
  cargo test --release -q -p "$2" "$3" -- --ignored --nocapture 2>&1 | grep -vE '^$|^running|^test result|^test '
}
measure "one decision of the baseline policy" sealwright-policy-wasm measure
measure "records of the ledger alone" sealwright-ledger load
