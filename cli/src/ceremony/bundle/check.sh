#!/bin/sh
# Compares every file of the bundle with its sums. Who unpacked it compares the digest that this prints with one from
# elsewhere: in hexadecimal digits, as `sealwright ceremony bundle` printed it.
set -eu
cd "$(dirname "$0")"
sha256sum --check --strict --quiet SHA256SUMS
listed=$(wc -l < SHA256SUMS)
found=$(find . -type f ! -path ./SHA256SUMS | wc -l)
others=$(find . ! -type f ! -type d | wc -l)
if [ "$listed" -ne "$found" ] || [ "$others" -ne 0 ]; then
  echo "check.sh: there is something that the sums do not list" >&2
  exit 1
fi
if ! command -v openssl > /dev/null; then
  echo "check.sh: openssl is missing: it is the ceremony's second verifier" >&2
  exit 1
fi
./bin/sealwright --version
openssl version
echo "sha256:$(sha256sum SHA256SUMS | cut -d ' ' -f 1)"
