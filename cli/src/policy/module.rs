//! Modules in files.

use std::{fs::File, io::Read, path::Path};

use sealwright_policy_wasm::{Engine, EngineSettings};

use crate::failure::{Class, Failure, OrFail};

/// The engine that production has, with few slots: nobody else decides here.
pub(super) fn engine() -> Result<Engine, Failure> {
    let settings = EngineSettings {
        slots: 4,
        ..EngineSettings::default()
    };
    Engine::new(settings).or_fail(Class::Internal)
}

/// The bytes of a module; no more than any module may have, and one, so that a longer one is refused by its size.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    let most = EngineSettings::default().max_component_bytes as u64;
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(most + 1).read_to_end(&mut bytes))
        .or_fail_doing(Class::Usage, format!("cannot read the module {}", path.display()))?;
    Ok(bytes)
}
