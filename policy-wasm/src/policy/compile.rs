//! From bytes to a component of the world that is ready to be instantiated.
//!
//! Code is made from the component's own bytes and never read from anywhere:
//! precompiled code would be trusted blindly.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use sealwright_identity::Digest;
use wasmtime::component::{Component, HasSelf, Linker};

use super::LoadError;
use crate::{
    Engine,
    bindings::{self, PolicyPre},
    decision::tame,
    guard::Guard,
};

/// The header of a component, and of a core module: magic, version, layer.
const COMPONENT_HEADER: &[u8] = b"\0asm\x0d\0\x01\0";
const CORE_MODULE_HEADER: &[u8] = b"\0asm\x01\0\0\0";
/// What a component of the world may import: its types, and the log.
const ALLOWED_IMPORTS: [&str; 2] = ["log", "sealwright:policy/types@1.0.0"];
/// How much of an import's name is shown.
const MAX_NAME: usize = 256;

/// Components that some policy uses, by the digest of their bytes. Policies
/// that differ in settings only share their code.
#[derive(Default)]
pub(crate) struct CompiledCache {
    components: Mutex<HashMap<Digest, Weak<PolicyPre<Guard>>>>,
}

impl CompiledCache {
    /// The component with that digest, compiled if nobody uses it yet. Two
    /// callers at once may both compile; both get the same component.
    pub(crate) fn get_or_compile(
        &self,
        engine: &Engine,
        digest: Digest,
        bytes: &[u8],
    ) -> Result<Arc<PolicyPre<Guard>>, LoadError> {
        if let Some(component) = self.components().get(&digest).and_then(Weak::upgrade) {
            return Ok(component);
        }
        let compiled = Arc::new(compile(engine, bytes)?);
        let mut components = self.components();
        components.retain(|_, component| component.strong_count() > 0);
        if let Some(component) = components.get(&digest).and_then(Weak::upgrade) {
            return Ok(component);
        }
        components.insert(digest, Arc::downgrade(&compiled));
        Ok(compiled)
    }

    fn components(&self) -> std::sync::MutexGuard<'_, HashMap<Digest, Weak<PolicyPre<Guard>>>> {
        // Each use of the map leaves it whole.
        self.components.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for CompiledCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CompiledCache")
            .field("components", &self.components().len())
            .finish()
    }
}

fn compile(engine: &Engine, bytes: &[u8]) -> Result<PolicyPre<Guard>, LoadError> {
    let max = engine.settings().max_component_bytes;
    if bytes.len() > max {
        return Err(LoadError::Size {
            bytes: bytes.len(),
            max,
        });
    }
    if bytes.starts_with(CORE_MODULE_HEADER) {
        return Err(LoadError::CoreModule);
    }
    if !bytes.starts_with(COMPONENT_HEADER) {
        return Err(LoadError::NotAComponent);
    }
    let component = Component::from_binary(engine.wasmtime(), bytes).map_err(LoadError::Compile)?;
    let foreign: Vec<String> = component
        .component_type()
        .imports(engine.wasmtime())
        .map(|(name, _)| name)
        .filter(|name| !ALLOWED_IMPORTS.contains(name))
        .map(|name| tame(name, MAX_NAME))
        .collect();
    if !foreign.is_empty() {
        return Err(LoadError::ForeignImports(foreign));
    }
    let mut linker = Linker::new(engine.wasmtime());
    bindings::Policy::add_to_linker::<_, HasSelf<Guard>>(&mut linker, |guard| guard)
        .map_err(LoadError::Instantiate)?;
    linker
        .instantiate_pre(&component)
        .and_then(PolicyPre::new)
        .map_err(LoadError::World)
}
