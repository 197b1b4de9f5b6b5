#!/usr/bin/env bash
# Builds Kryoptic, a second software token, with an OpenSSL of its own; prints the path of its library.
# Some minutes, once: what it made stays in .build/kryoptic. JOBS says how many compilers run at a time.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
out=$root/.build/kryoptic
library=$out/libkryoptic_pkcs11.so
jobs=${JOBS:-$(nproc)}
kryoptic=1.5.4
openssl=300.6.1 # OpenSSL 3.6.3

if [ -e "$library" ]; then
  echo "$library"
  exit 0
fi

missing=()
for entry in perl:perl make:make gcc:gcc clang:libclang-dev; do
  if [ "${entry%%:*}" = clang ]; then
    ldconfig -p | grep -q 'libclang[-.0-9]*\.so' || missing+=("${entry#*:}")
  else
    command -v "${entry%%:*}" > /dev/null || missing+=("${entry#*:}")
  fi
done
[ -e /usr/include/sqlite3.h ] || missing+=(libsqlite3-dev)
if [ "${#missing[@]}" != 0 ]; then
  if [ "$(id -u)" != 0 ] || ! command -v apt-get > /dev/null; then
    echo "kryoptic: missing: ${missing[*]}. Install them (Debian: apt-get install ${missing[*]}), then run this again." >&2
    exit 1
  fi
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq >&2
  apt-get install -y -qq --no-install-recommends "${missing[@]}" > /dev/null
fi

# An OpenSSL that was built before the rest was interrupted is good.
if [ ! -e "$out/work/openssl/built" ]; then
  # Cargo fetches both sources for a package that needs them, and verifies their checksums.
  rm -rf "$out/work"
  mkdir -p "$out/work/fetch/src"
  cd "$out/work/fetch"
  : > src/lib.rs
  cat > Cargo.toml << TOML
[package]
name = "fetch"
version = "0.0.0"
edition = "2024"
[dependencies]
kryoptic = { version = "=$kryoptic", default-features = false, features = ["standard", "pqc"] }
openssl-src = "=$openssl"
[workspace]
TOML
  cargo vendor --quiet vendor > /dev/null
  cp -r vendor/openssl-src/openssl ../openssl
  cp -r vendor/kryoptic ../kryoptic
  # Else cargo takes it for a part of the workspace around.
  printf '\n[workspace]\n' >> ../kryoptic/Cargo.toml

  echo "kryoptic: building OpenSSL (minutes)" >&2
  cd "$out/work/openssl"
  {
    # Without no-module it looks for a file that the crate leaves out.
    ./Configure no-module no-legacy no-shared no-apps no-tests no-docs
    make -j "$jobs" build_generated libcrypto.a
  } > ../openssl.log 2>&1 || { tail -n 20 ../openssl.log >&2; exit 1; }
  : > built
fi

echo "kryoptic: building Kryoptic $kryoptic (minutes)" >&2
cd "$out/work/kryoptic"
KRYOPTIC_OPENSSL_SOURCES=$out/work/openssl CARGO_TARGET_DIR=$out/work/target \
  cargo build --locked --release --jobs "$jobs" --no-default-features \
  --features standard,pqc,ossl/ossl-sys > ../kryoptic.log 2>&1 || { tail -n 20 ../kryoptic.log >&2; exit 1; }
# In place by a rename: a build that was interrupted leaves nothing that looks finished.
cp "$out/work/target/release/libkryoptic_pkcs11.so" "$library.new"
mv "$library.new" "$library"
rm -rf "$out/work"
echo "$library"
