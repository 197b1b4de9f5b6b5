#!/usr/bin/env bash
# Installs the system packages that building, testing and demonstrating need; quiet when all are there.
set -euo pipefail

# package:what shows that it is there
wanted=(
  gcc:gcc
  make:make
  openssl:openssl
  softhsm2:/usr/lib/softhsm/libsofthsm2.so
  python3-venv:/usr/lib/python3/dist-packages
  util-linux:setpriv
  p11-kit:p11-kit
  p11-kit-modules:p11-kit-modules
  faketime:faketime
)

# Policy guests need a compiler for wasm32: rustup's target where it is installed, else Debian's.
if ! rustup target list --installed 2>/dev/null | grep -q '^wasm32-unknown-unknown$'; then
  wanted+=(
    rustc-web:/usr/bin/rustc
    cargo-web:/usr/bin/cargo
    rust-web-src:/usr/src
    lld:wasm-ld
  )
fi

missing=()
for entry in "${wanted[@]}"; do
  package=${entry%%:*} proof=${entry#*:}
  case $package in
    rustc-web | cargo-web | rust-web-src | python3-venv | p11-kit-modules)
      dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package") ;;
    *)
      if [[ $proof == /* ]]; then [[ -e $proof ]]; else command -v "$proof" >/dev/null; fi || missing+=("$package") ;;
  esac
done

if ! command -v cargo >/dev/null; then
  echo "setup: cargo is missing: install Rust 1.95 or later (rustup.rs)" >&2
  exit 1
fi
if ((${#missing[@]} == 0)); then
  exit 0
fi
if ! command -v apt-get >/dev/null || [[ $(id -u) != 0 ]]; then
  echo "setup: missing: ${missing[*]}. Install them (Debian: apt-get install ${missing[*]}), then run this again." >&2
  exit 1
fi
echo "setup: installing ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
