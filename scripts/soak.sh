#!/usr/bin/env bash
# The long tests, one by one. What has come to its end is kept in .build/soak, so that an interrupted run goes on
# where it was; FRESH=1 starts over, and so does another build. ONLY=WORD takes only the tests with that word in
# their name. SOAK_LIMIT bounds each, in seconds; SOAK_KILLS, SOAK_OUTAGE and SOAK_MINUTES say how much is done.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
kept=$root/.build/soak
limit=${SOAK_LIMIT:-3600}
cd "$root"

if [ -n "${FRESH:-}" ]; then rm -rf "$kept"; fi
mkdir -p "$kept"

cargo build --workspace --bin sealwright
built=$(cargo test --workspace --test integration --no-run --message-format json |
  sed -n 's/.*"executable":"\([^"]*\/integration-[^"]*\)".*/\1/p' | tail -n 1)
build=$(cat "$built" "$root/target/debug/sealwright" | sha256sum | cut -c 1-16)

mapfile -t tests < <("$built" --ignored --list --format terse | sed -n 's/^\(\(soak\|ceremony\)::.*\): test$/\1/p' | grep -F "${ONLY:-::}")
if [ "${#tests[@]}" = 0 ]; then
  echo "soak: no test has ${ONLY:-::} in its name" >&2
  exit 1
fi

began=$SECONDS
number=0
for name in "${tests[@]}"; do
  number=$((number + 1))
  file=$kept/${name//::/.}
  if grep -qx "build $build" "$file.done" 2> /dev/null && grep -qx "result ok" "$file.done"; then
    echo "soak: $number of ${#tests[@]}: $name: was done"
    continue
  fi
  rm -f "$file.done"
  echo "soak: $number of ${#tests[@]}, after $((SECONDS - began)) s: $name (at most $limit s; its words: ${file#"$root"/}.log)"
  start=$SECONDS
  result=ok
  timeout --kill-after 60 "$limit" "$built" --ignored --exact "$name" --nocapture > "$file.log" 2>&1 || result="failed ($?)"
  {
    echo "build $build"
    echo "result $result"
    echo "seconds $((SECONDS - start))"
    grep -aE '^(figure|recovery|overload): ' "$file.log" || true
  } > "$file.new"
  # By a rename: what is there is whole.
  mv "$file.new" "$file.done"
  if [ "$result" != ok ]; then
    echo "soak: $name: $result" >&2
    tail -n 5 "$file.log" >&2
  fi
done

echo
printf '%-72s %-13s %8s\n' test result seconds
failed=0
for name in "${tests[@]}"; do
  file=$kept/${name//::/.}.done
  result=$(sed -n 's/^result //p' "$file")
  printf '%-72s %-13s %8s\n' "$name" "$result" "$(sed -n 's/^seconds //p' "$file")"
  sed -nE 's/^(figure|overload): /    /p' "$file"
  awk '$1 == "recovery:" { if (!($2 in most) || $3 > most[$2]) most[$2] = $3; count[$2]++ }
    END { for (name in most) printf "    %s: longest of %d: %d ms\n", name, count[name], most[name] }' "$file" | sort
  [ "$result" = ok ] || failed=1
done
exit "$failed"
