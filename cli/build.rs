//! Puts the baseline policy's component into the binary, if it was built before.
//!
//! The component comes from source by `policy-wasm/guests/build.sh`; none is committed. A binary
//! built without it says so when `dev` needs it.

use std::{env, fs, path::PathBuf};

fn main() {
    let manifest = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default());
    let component = manifest.join("../.build/guests/baseline.wasm");
    println!("cargo:rerun-if-changed={}", component.display());
    println!("cargo:rerun-if-changed=build.rs");
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default()).join("baseline.rs");
    let source = match fs::canonicalize(&component) {
        Ok(path) => format!("Some(include_bytes!({:?}))", path.display().to_string()),
        Err(_) => "None".to_owned(),
    };
    if let Err(error) = fs::write(&out, source) {
        println!("cargo:error=cannot write {}: {error}", out.display());
    }
}
