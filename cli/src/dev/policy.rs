//! Where the baseline policy's component comes from.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::{
    failure::{Class, Failure, OrFail},
    files,
};

/// The component that was there when this binary was built.
static BUILT_IN: Option<&[u8]> = include!(concat!(env!("OUT_DIR"), "/baseline.rs"));

/// The file that is named, else the one built in, else one beside the program.
pub(super) fn baseline(named: Option<&Path>) -> Result<Vec<u8>, Failure> {
    if let Some(path) = named {
        return fs::read(path)
            .or_fail_doing(Class::Usage, format!("cannot read the policy {}", path.display()));
    }
    if let Some(component) = BUILT_IN {
        return Ok(component.to_vec());
    }
    let program = files::own_program()?;
    let folder = program.parent().unwrap_or_else(|| Path::new("/"));
    let beside = ["baseline.wasm", "../share/sealwright/baseline.wasm"];
    let found = beside
        .iter()
        .map(|name| folder.join(name))
        .find(|path: &PathBuf| path.exists());
    match found {
        Some(path) => {
            fs::read(&path).or_fail_doing(Class::Usage, format!("cannot read the policy {}", path.display()))
        }
        None => Err(Failure::text(
            Class::Usage,
            "this binary was built without the baseline policy; build it with \
             policy-wasm/guests/build.sh and name it with --policy FILE, or build the binary again",
        )),
    }
}
