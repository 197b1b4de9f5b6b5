#!/bin/sh
# Makes a SoftHSM token for development and tests:
#
#   softhsm/provision.sh HOME [LABEL] [KEY-TYPE]
#
# HOME gets softhsm2.conf, the folder tokens/ with a copy beside it, and the
# PINs in pin and so-pin (both 0600). The token gets the keys `issuing`
# (KEY-TYPE: p256, p384, ed25519, rsa2048, rsa3072, rsa4096; default p384) and
# `health`. Nothing is overwritten. PINs are never arguments of a program.
set -eu

[ $# -ge 1 ] || { echo "usage: $0 HOME [LABEL] [KEY-TYPE]" >&2; exit 2; }
label=${2:-sealwright}
key_type=${3:-p384}
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)

umask 077
mkdir -p -- "$1/tokens"
home=$(CDPATH='' cd -- "$1" && pwd)
if [ -e "$home/softhsm2.conf" ]; then
    echo "$home/softhsm2.conf exists already" >&2
    exit 1
fi
case $home in
*[\#\&\|]*) echo "SoftHSM cannot use the path $home" >&2; exit 2 ;;
esac

for pin in pin so-pin; do
    od -An -N16 -tx1 /dev/urandom | tr -d ' \n' > "$home/$pin"
done
sed "s|@TOKENDIR@|$home/tokens|" "$here/softhsm2.conf.template" > "$home/softhsm2.conf"

SOFTHSM2_CONF=$home/softhsm2.conf
export SOFTHSM2_CONF
cd "$here/.."
exec cargo run --quiet --package sealwright-hsm --example provision -- "$home" "$label" "$key_type"
