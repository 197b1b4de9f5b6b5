#!/bin/sh
# Builds every guest of this workspace from source into OUTDIR/NAME.wasm
# (default: .build/guests at the top of the repository).
#
#   policy-wasm/guests/build.sh [OUTDIR]
#
# The compiler is rustup's, when the toolchain that rust-toolchain.toml names
# has the target wasm32-unknown-unknown; otherwise Debian's, which compiles the
# standard library too (about 85 s, once). The target wasm32-wasip2 will not
# do: its standard library imports WASI, which the host refuses.
#
# Nothing is done when OUTDIR is up to date, by the content of the sources and
# the version of the compiler.
set -eu

TARGET=wasm32-unknown-unknown
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd -P)
repo=$(CDPATH='' cd -- "$here/../.." && pwd -P)
out=${1:-$repo/.build/guests}

say() { printf 'guests: %s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }

# An outer cargo hands its own toolchain, flags and target folder down, none of
# which fit here. Where to find the registry, and how, stays.
for name in $(env | sed -n 's/^\(CARGO[A-Z0-9_]*\|RUST[A-Z0-9_]*\)=.*/\1/p'); do
    case $name in
    CARGO_HOME | CARGO_NET_* | CARGO_HTTP_* | CARGO_REGISTR* | CARGO_SOURCE_* | RUSTUP_HOME | RUSTUP_DIST_* | RUSTUP_AUTO_INSTALL) ;;
    *) unset "$name" ;;
    esac
done
unset LD_LIBRARY_PATH name
export CARGO_TERM_PROGRESS_WHEN=never

# The digest of what goes in: sources, this script, and who compiles them.
sources() {
    (
        cd "$repo/policy-wasm"
        find wit sdk guests -name target -prune -o -type f -print | LC_ALL=C sort |
            xargs sha256sum
    )
}

# --- which compiler -----------------------------------------------------------

# rustup's toolchain, as rust-toolchain.toml names it (found from $here upwards).
rustup_rustc=$(cd "$here" && rustup which rustc 2>/dev/null) || rustup_rustc=
rustup_sysroot=
[ -z "$rustup_rustc" ] || rustup_sysroot=$("$rustup_rustc" --print sysroot)

if [ -n "$rustup_sysroot" ] && [ -d "$rustup_sysroot/lib/rustlib/$TARGET/lib" ]; then
    RUSTC=$rustup_rustc
    CARGO=$(cd "$here" && rustup which cargo)
    std=
elif [ -x /usr/bin/rustc ] && [ -x /usr/bin/cargo ] &&
    [ -d "$(/usr/bin/rustc --print sysroot)/lib/rustlib/src/rust/library/vendor" ]; then
    RUSTC=/usr/bin/rustc
    CARGO=/usr/bin/cargo
    std=-Zbuild-std=core,alloc,std,panic_abort
    export RUSTC_BOOTSTRAP=1
else
    fail "no compiler for $TARGET. Either
    rustup target add $TARGET
or, on Debian,
    apt-get install --no-install-recommends rustc-web cargo-web rust-web-src lld"
fi
export RUSTC

# wasm-component-ld links a core module and makes it a component in one step.
# Any toolchain's will do; rustup ships it with every one.
host=$("$RUSTC" -vV | sed -n 's/^host: //p')
component_ld=
for bin in ${rustup_sysroot:+"$rustup_sysroot/lib/rustlib/$host/bin"} \
    "$("$RUSTC" --print sysroot)/lib/rustlib/$host/bin"; do
    if [ -x "$bin/wasm-component-ld" ]; then
        component_ld=$bin/wasm-component-ld
        wasm_ld=$bin/gcc-ld/wasm-ld
        break
    fi
done
[ -n "$component_ld" ] || component_ld=$(command -v wasm-component-ld) ||
    fail "no wasm-component-ld: it comes with rustup's toolchain, or by 'cargo install wasm-component-ld'"
[ -x "${wasm_ld:-}" ] || wasm_ld=$(command -v wasm-ld) ||
    fail "no wasm-ld: on Debian, apt-get install --no-install-recommends lld"

# --- up to date? --------------------------------------------------------------

mkdir -p "$out" "$here/target"
out=$(CDPATH='' cd -- "$out" && pwd -P)

# One build at a time: test binaries of several crates may ask at once.
exec 9>"$here/target/.build.lock"
flock 9

stamp=$({ sources && "$RUSTC" -vV && "$component_ld" --version; } | sha256sum | cut -d' ' -f1)
if [ "$(cat "$out/.stamp" 2>/dev/null)" = "$stamp" ] && [ -f "$out/baseline.wasm" ]; then
    exit 0
fi

# --- build --------------------------------------------------------------------

# Its path and the flags are the same every time: cargo builds the standard
# library again when they change.
linker=$here/target/component-linker
cat >"$linker.new" <<WRAPPER
#!/bin/sh
# rustc starts with "-flavor wasm", which only rust-lld understands.
[ "\$1" = -flavor ] && shift 2
exec "$component_ld" --wasm-ld-path "$wasm_ld" "\$@"
WRAPPER
chmod 755 "$linker.new"
cmp -s "$linker.new" "$linker" || mv "$linker.new" "$linker"
rm -f "$linker.new"

export CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER="$linker"
# A component's digest must not depend on where it was built.
export CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUSTFLAGS="--remap-path-prefix=$repo=/sealwright --remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=/cargo"

[ -z "$std" ] || [ -d "$here/target/$TARGET" ] ||
    say "building the standard library for $TARGET with $RUSTC: about 85 s, once"
(cd "$here" && "$CARGO" build --release --locked --quiet \
    --target "$TARGET" --target-dir "$here/target" $std) 9>&- || fail "the build failed"

rm -f "$out/.stamp"
for file in "$here/target/$TARGET/release/"*.wasm; do
    name=$(basename "$file")
    cp "$file" "$out/.$name.new"
    mv "$out/.$name.new" "$out/$name"
    say "$name $(wc -c <"$file") bytes"
done
printf '%s\n' "$stamp" >"$out/.stamp"
