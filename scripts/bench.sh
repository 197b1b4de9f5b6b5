#!/usr/bin/env bash
# The figures of docs/performance.md, part by part: `make bench`, or `make bench PART="path ledger"`.
# Each part writes its runs (JSON) and a markdown table to .build/bench; a run that is there is not made again,
# so an interrupted bench goes on where it was: `make bench FRESH=1` forgets all of it.
# Ratios within a part are what counts: single figures say as much about the machine as about the program.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root"
parts=${PART:-path stream burst connections policies modules identities ledger writer replay sets}
duration=${BENCH_DURATION:-6s}
burst=${BENCH_BURST:-10000}
turns=${BENCH_TURNS:-3}
entries=${BENCH_ENTRIES:-0 100000 1000000 10000000}
out=$root/.build/bench
bin=${BENCH_BIN:-${CARGO_TARGET_DIR:-$root/target}/release} # with BENCH_BIN: what is there, nothing is built
[[ -z ${FRESH:-} ]] || rm -rf "$out"
mkdir -p "$out"

# One command, so that everything is compiled once.
[[ -n ${BENCH_BIN:-} ]] || cargo build --release -p sealwright-cli -p sealwright-tests -p sealwright-ledger \
  --bin sealwright --bin csign --example prefill --example load

scratch=$(mktemp -d "$out/scratch.XXXXXX")
trap 'rm -rf "$scratch"' EXIT

# run PART NAME ARGUMENTS…: one measurement, kept as PART/NAME.json.
run() {
  local part=$1 name=$2
  shift 2
  local file=$out/$part/$name.json
  mkdir -p "$out/$part"
  if [[ -s $file ]]; then
    echo "   $part/$name: kept" >&2
    return
  fi
  echo "   $part/$name" >&2
  timeout 600 "$bin/sealwright" bench --output json "$@" >"$file.new"
  mv "$file.new" "$file"
}

# home NAME: a home of its own, made.
home() {
  local place=$scratch/$1
  if [[ ! -d $place ]]; then
    timeout 120 "$bin/sealwright" bench --output json --duration 1s --home "$place" >/dev/null
  fi
  echo "$place"
}

part_path() {
  for algorithm in p256 p384; do
    for depth in 1 16 64; do
      run path "$algorithm-$depth" --algorithm "$algorithm" --in-flight "$depth" --duration "$duration" \
        --csign "$bin/csign" --half
    done
  done
}

part_stream() {
  for each in 1 10 50; do
    run stream "$each" --stream "$each" --in-flight 2 --duration "$duration"
  done
}

part_burst() {
  ulimit -n "$(ulimit -H -n)"
  for algorithm in p256 p384; do
    run burst "$algorithm" --algorithm "$algorithm" --burst "$burst"
  done
}

part_connections() {
  local turn idle
  for ((turn = 1; turn <= turns; turn++)); do
    for idle in 1 1000 5000; do
      run connections "$idle.$turn" --idle-connections "$idle" --duration "$duration"
    done
  done
}

part_policies() {
  local place config count number names
  for count in 1 2 4 8; do
    [[ ! -s $out/policies/$count.json ]] || { run policies "$count"; continue; }
    place=$(home "policies-$count")
    config=$place/sealwright.toml
    names='"baseline"'
    for ((number = 2; number <= count; number++)); do
      names+=", \"baseline-$number\""
      printf '[[policies]]\nname = "baseline-%d"\nmodule = "policies/baseline.wasm"\n[policies.settings]\ntrust_domains = ["cluster.local"]\n\n' "$number"
    done >"$scratch/more"
    sed -i "s/^policies = \[.*/policies = [$names]/" "$config"
    insert_before_gate "$config" "$scratch/more"
    run policies "$count" --home "$place" --duration "$duration"
    rm -rf "$place"
  done
  # Configured, and used by nobody who asks here.
  place=$(home issuers)
  config=$place/sealwright.toml
  for ((number = 1; number <= 8; number++)); do
    sed -n '/^\[\[issuers\]\]$/,/^$/p' "$config" | sed "s/^name = .*/name = \"unused-$number\"/" >>"$scratch/more-issuers"
  done
  insert_before_gate "$config" "$scratch/more-issuers"
  run policies unused-issuers --home "$place" --duration "$duration"
  rm -rf "$place"
}

# Modules of their own bytes, each of an issuer that nobody asks: the first start compiles them, the second finds their code.
part_modules() {
  local place config count number
  for count in 1 10 100; do
    [[ ! -s $out/modules/$count-warm.json ]] || { run modules "$count-warm"; continue; }
    place=$(home "modules-$count")
    config=$place/sealwright.toml
    : >"$scratch/modules"
    for ((number = 2; number <= count; number++)); do
      # A custom section at the end: another module of the same code.
      { cat "$place/policies/baseline.wasm" && printf '\0\012\01n%08d' "$number"; } >"$place/policies/module-$number.wasm"
      printf '[[policies]]\nname = "module-%d"\nmodule = "policies/module-%d.wasm"\n[policies.settings]\ntrust_domains = ["cluster.local"]\n\n' \
        "$number" "$number" >>"$scratch/modules"
      sed -n '/^\[\[issuers\]\]$/,/^$/p' "$config" |
        sed "s/^name = .*/name = \"issuer-$number\"/; s/^policies = .*/policies = [\"module-$number\"]/" >>"$scratch/modules"
    done
    insert_before_gate "$config" "$scratch/modules"
    run modules "$count-cold" --home "$place" --duration "$duration"
    run modules "$count-warm" --home "$place" --duration "$duration"
    rm -rf "$place"
  done
}

part_identities() {
  local turn count
  for ((turn = 1; turn <= turns; turn++)); do
    for count in 1 1000 100000; do
      run identities "$count.$turn" --identities "$count" --duration "$duration"
    done
  done
}

# Every size in each turn: a machine that grows slower meanwhile slows them all.
part_ledger() {
  local place count turn free
  for count in $entries; do
    [[ ! -s $out/ledger/$count.$turns.json ]] || continue
    free=$(df --output=avail -k "$out" | tail -1)
    # About 0.6 KB an entry, write-ahead log included.
    if ((count * 7 / 10 + 2000000 > free)); then
      echo "   ledger/$count: not enough disk, left out" >&2
      continue
    fi
    place=$(home "ledger-$count")
    if ((count > 0)); then
      timeout 1200 "$bin/examples/prefill" "$place/gate/ledger.db" $((count / 2)) >&2
    fi
    if ((count == 100000)); then
      "$bin/sealwright" log verify --home "$place" >&2
    fi
  done
  for ((turn = 1; turn <= turns; turn++)); do
    for count in $entries; do
      place=$scratch/ledger-$count
      [[ ! -d $place ]] || run ledger "$count.$turn" --home "$place" --in-flight 64 --duration "$duration"
    done
  done
  rm -rf "$scratch"/ledger-*
}

part_writer() {
  mkdir -p "$out/writer"
  [[ -s $out/writer/load.txt ]] || TMPDIR=$scratch timeout 300 "$bin/examples/load" >"$out/writer/load.txt"
}

# A ledger of some seconds of full load, each certificate with its own key of few, replayed on one thread and on all.
part_replay() {
  local place threads
  mkdir -p "$out/replay"
  for threads in 1 "$(nproc)"; do
    [[ ! -s $out/replay/$threads.json ]] || { echo "   replay/$threads: kept" >&2; continue; }
    place=$(home replay)
    if [[ ! -s $scratch/replay.jsonl ]]; then
      timeout 600 "$bin/sealwright" bench --output json --home "$place" --in-flight 64 --duration "$duration" >/dev/null
      "$bin/sealwright" log export --home "$place" --out "$scratch/replay.jsonl"
    fi
    echo "   replay/$threads" >&2
    timeout 600 "$bin/sealwright" policy replay --bundle "$scratch/replay.jsonl" --trust-anchor "$place/roots.pem" \
      --threads "$threads" --output json >"$out/replay/$threads.json.new"
    mv "$out/replay/$threads.json.new" "$out/replay/$threads.json"
  done
}

# Sets that change beside as many callers as the signer can bear, and a shadow that burns its fuel at every request.
part_sets() {
  mkdir -p "$out/sets"
  [[ ! -s $out/sets/figures.txt ]] || { echo "   sets: kept" >&2; return; }
  if [[ -n ${BENCH_BIN:-} ]]; then
    echo "   sets: left out, it is made by tests, which BENCH_BIN leaves unbuilt" >&2
    return
  fi
  SWAP_CALLERS=64 cargo test --release --workspace --test integration -- --nocapture --test-threads 1 \
    no_request_fails_while_sets_change a_shadow_that_loops_holds_up_nobody >"$out/sets/log.txt"
  sed -n 's/^.*figure: //p' "$out/sets/log.txt" >"$out/sets/figures.txt"
}

# insert_before_gate CONFIG FILE: puts sections before [gate].
insert_before_gate() {
  awk -v more="$2" '/^\[gate\]$/ { while ((getline line < more) > 0) print line } { print }' "$1" >"$1.new"
  cat "$1.new" >"$1"
  rm "$1.new"
}

for part in $parts; do
  declare -F "part_$part" >/dev/null || { echo "there is no part $part" >&2; exit 2; }
  echo "== $part" >&2
  "part_$part"
done
python3 scripts/bench-tables.py "$out" | tee "$out/tables.md"
