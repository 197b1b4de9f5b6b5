#!/usr/bin/env bash
# Builds the fuzz targets and runs each for some time: fuzz/run.sh SECONDS [TARGET...]
#
# FUZZ_SANITIZER=address builds with AddressSanitizer (none by default: half the speed, and the product has no
# unsafe code of its own here). FUZZ_MERGE=1 does not fuzz, but writes what the runs found back to the committed
# corpora, as few files as cover the same. What runs find stays in .build/fuzz; a crash stops the run and its
# input is in fuzz/artifacts.
set -euo pipefail

cd "$(dirname "$0")/.."
seconds=${1:-60}
shift || true
targets=("$@")
triple=$(rustc --print host-tuple)
sanitizer=${FUZZ_SANITIZER:-none}
work=$PWD/.build/fuzz
mapfile -t all < <(sed -n 's/^path = "fuzz_targets\/\(.*\)\.rs"$/\1/p' fuzz/Cargo.toml)
((${#targets[@]})) || targets=("${all[@]}")

# Longest input, in bytes.
declare -A longest=(
    [csr]=4096 [spiffe_id]=2200 [jwt]=4096 [pkcs11_uri]=4200 [policy_output]=4096 [gate_frame]=8192 [config]=8192
)

# The flags are for a nightly compiler; the pinned one takes them when it is told so. The product is built without
# cfg(fuzzing): what runs here is what runs elsewhere.
echo "building ${targets[*]} (sanitizer: $sanitizer)"
build=(cargo fuzz build --fuzz-dir fuzz --sanitizer "$sanitizer" --no-cfg-fuzzing --codegen-units 16)
((${#targets[@]} == 1)) && build+=("${targets[0]}")
RUSTC_BOOTSTRAP=1 "${build[@]}"

number=0
for target in "${targets[@]}"; do
    number=$((number + 1))
    [[ -n ${longest[$target]:-} ]] || { echo "no target is called $target; there are: ${all[*]}" >&2; exit 2; }
    program=fuzz/target/$triple/release/$target
    mkdir -p "$work/$target" "fuzz/corpus/$target" "fuzz/artifacts/$target"
    options=(-rss_limit_mb=2048 -timeout=20 "-max_len=${longest[$target]}" "-artifact_prefix=fuzz/artifacts/$target/")
    FUZZ_SEEDS=$work/$target "$program" -runs=0 >/dev/null 2>&1 || true
    if [[ -n ${FUZZ_MERGE:-} ]]; then
        new=$(mktemp -d)
        # Edges alone: a few dozen files, not one for every count of every loop.
        "$program" "${options[@]}" -max_len=600 -use_counters=0 -use_value_profile=0 -set_cover_merge=1 \
            "$new" "fuzz/corpus/$target" "$work/$target" 2>"$work/$target.merge.log"
        rm -rf "fuzz/corpus/$target" && mv "$new" "fuzz/corpus/$target" && chmod 755 "fuzz/corpus/$target"
        echo "[$number/${#targets[@]}] $target: $(find "fuzz/corpus/$target" -type f | wc -l) files," \
            "$(du -bs "fuzz/corpus/$target" | cut -f1) bytes"
        continue
    fi
    echo "[$number/${#targets[@]}] $target for $seconds s"
    log=$work/$target.log
    if ! "$program" "${options[@]}" "-max_total_time=$seconds" "-dict=fuzz/dictionaries/$target.dict" \
        -print_final_stats=1 "$work/$target" "fuzz/corpus/$target" > >(tee "$log" | grep --line-buffered pulse || true) 2>&1; then
        tail -n 40 "$log" >&2
        echo "$target failed: the input is in fuzz/artifacts/$target, the whole output in $log" >&2
        exit 1
    fi
    grep -E '^#[0-9]+.*DONE|number_of_executed|peak_rss' "$log" || true
done
