//! The compiler for WebAssembly: one that has the target's standard library, or Debian's, which compiles
//! the library from source.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use super::cargo::plain;
use crate::failure::{Class, Failure};

/// What a policy is compiled to. A target with WASI will not do: its library imports what the host refuses.
pub(super) const TARGET: &str = "wasm32-unknown-unknown";

const FIX: &str = "there is no compiler for WebAssembly. Either
    rustup target add wasm32-unknown-unknown
or, on Debian or Ubuntu,
    apt-get install --no-install-recommends rustc-web cargo-web rust-web-src lld";
const NO_LINKER: &str = "there is no linker for WebAssembly (wasm-ld). On Debian or Ubuntu:
    apt-get install --no-install-recommends lld";

/// A compiler with its cargo and linker.
#[derive(Debug)]
pub(super) struct Toolchain {
    pub(super) rustc: PathBuf,
    pub(super) cargo: PathBuf,
    /// `None`: the compiler's own.
    pub(super) linker: Option<PathBuf>,
    /// Whether the standard library has to be compiled.
    pub(super) builds_std: bool,
    /// The compiler's and the linker's own words for themselves.
    pub(super) compiler: String,
    pub(super) linked_by: String,
}

impl Toolchain {
    /// The first that can compile a policy in this folder (where a `rust-toolchain.toml` counts).
    ///
    /// # Errors
    /// With the fix, when there is none.
    pub(super) fn find(folder: &Path) -> Result<Self, Failure> {
        let of_rustup = say(Command::new("rustup")
            .args(["which", "rustc"])
            .current_dir(folder));
        let in_path = say(Command::new("rustc")
            .args(["--print", "sysroot"])
            .current_dir(folder))
        .map(|sysroot| format!("{sysroot}/bin/rustc"));
        let named = of_rustup.into_iter().chain(in_path).map(PathBuf::from);
        let prebuilt = named
            .chain([PathBuf::from("/usr/bin/rustc")])
            .find(|rustc| has_target(rustc));
        if let Some(rustc) = prebuilt {
            return Self::with(rustc, false);
        }
        let debian = PathBuf::from("/usr/bin/rustc");
        match has_library_source(&debian) {
            true => Self::with(debian, true),
            false => Err(Failure::text(Class::Usage, FIX)),
        }
    }

    fn with(rustc: PathBuf, builds_std: bool) -> Result<Self, Failure> {
        let no = || Failure::text(Class::Usage, FIX);
        let compiler = say(plain(Command::new(&rustc)).arg("--version")).ok_or_else(no)?;
        let cargo = rustc.with_file_name("cargo");
        if !cargo.exists() {
            return Err(no());
        }
        // A compiler with the target brings the linker along, unless a distribution took it out.
        let own = sysroot(&rustc).is_some_and(|sysroot| {
            let host = say(plain(Command::new(&rustc)).arg("-vV"));
            let host = host
                .as_deref()
                .and_then(|text| text.lines().find_map(|line| line.strip_prefix("host: ")));
            host.is_some_and(|host| sysroot.join(format!("lib/rustlib/{host}/bin/rust-lld")).exists())
        });
        let (linker, linked_by) = if own {
            (None, "rust-lld of the compiler".to_owned())
        } else {
            let linker = find_linker().ok_or_else(|| Failure::text(Class::Usage, NO_LINKER))?;
            let word = say(Command::new(&linker).arg("--version"));
            let word = word.ok_or_else(|| Failure::text(Class::Usage, NO_LINKER))?;
            (Some(linker), first_line(&word))
        };
        Ok(Self {
            cargo,
            linker,
            builds_std,
            compiler: first_line(&compiler),
            linked_by,
            rustc,
        })
    }
}

fn has_target(rustc: &Path) -> bool {
    sysroot(rustc).is_some_and(|sysroot| sysroot.join("lib/rustlib").join(TARGET).join("lib").is_dir())
}

/// Debian's package of the source also has what the library depends on.
fn has_library_source(rustc: &Path) -> bool {
    sysroot(rustc).is_some_and(|sysroot| sysroot.join("lib/rustlib/src/rust/library/vendor").is_dir())
}

fn sysroot(rustc: &Path) -> Option<PathBuf> {
    say(plain(Command::new(rustc)).args(["--print", "sysroot"])).map(PathBuf::from)
}

/// `wasm-ld` by that name, since the compiler calls it so; or one of a versioned package.
fn find_linker() -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let named = env::split_paths(&path).map(|folder| folder.join("wasm-ld"));
    let versioned = (14..40)
        .rev()
        .map(|version| PathBuf::from(format!("/usr/lib/llvm-{version}/bin/wasm-ld")));
    named.chain(versioned).find(|linker| linker.is_file())
}

/// What a program prints, when it is there and succeeds.
fn say(command: &mut Command) -> Option<String> {
    let output = command.output().ok().filter(|output| output.status.success())?;
    let text = String::from_utf8(output.stdout).ok()?;
    Some(text.trim_end().to_owned())
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}
