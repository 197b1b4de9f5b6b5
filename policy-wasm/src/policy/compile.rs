//! From bytes to a component of the world that is ready to be instantiated.
//!
//! Code is made from the component's own bytes, or was, by this user on this host, and kept: bytes
//! that a caller hands over are never taken for code.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak, atomic::Ordering},
};

use rayon::{ThreadBuilder, ThreadPoolBuilder};
use sealwright_identity::Digest;
use wasmtime::component::{Component, HasSelf, Linker};

use super::LoadError;
use crate::{
    Engine,
    bindings::{self, PolicyPre},
    decision::tame,
    engine::told,
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
        let compiled = Arc::new(prepare(engine, digest, bytes)?);
        Ok(self.keep(digest, compiled))
    }

    /// The component with that digest from machine code that this process made of it, so that loading
    /// it compiles nothing for as long as the value lives.
    pub(crate) fn adopt(
        &self,
        engine: &Engine,
        digest: Digest,
        code: &[u8],
    ) -> Result<Arc<PolicyPre<Guard>>, LoadError> {
        // SAFETY: the code comes from `code_of`, in this process; it was never in a file.
        #[expect(unsafe_code, reason = "machine code is trusted as it is")]
        let component = unsafe { Component::deserialize(engine.wasmtime(), code) };
        let linked = link(engine, &component.map_err(LoadError::Compile)?)?;
        Ok(self.keep(digest, Arc::new(linked)))
    }

    /// The component that is kept under the digest from now on.
    fn keep(&self, digest: Digest, compiled: Arc<PolicyPre<Guard>>) -> Arc<PolicyPre<Guard>> {
        let mut components = self.components();
        components.retain(|_, component| component.strong_count() > 0);
        if let Some(component) = components.get(&digest).and_then(Weak::upgrade) {
            return component;
        }
        components.insert(digest, Arc::downgrade(&compiled));
        compiled
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

fn prepare(engine: &Engine, digest: Digest, bytes: &[u8]) -> Result<PolicyPre<Guard>, LoadError> {
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
    let component = match kept(engine, digest) {
        Some(component) => component,
        None => compile(engine, digest, bytes)?,
    };
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
    link(engine, &component)
}

/// The machine code of a component.
pub(super) fn code_of(component: &PolicyPre<Guard>) -> wasmtime::Result<Vec<u8>> {
    component.instance_pre().component().serialize()
}

fn link(engine: &Engine, component: &Component) -> Result<PolicyPre<Guard>, LoadError> {
    let mut linker = Linker::new(engine.wasmtime());
    bindings::Policy::add_to_linker::<_, HasSelf<Guard>>(&mut linker, |guard| guard)
        .map_err(LoadError::Instantiate)?;
    linker
        .instantiate_pre(component)
        .and_then(PolicyPre::new)
        .map_err(LoadError::World)
}

/// The code of an earlier start.
fn kept(engine: &Engine, digest: Digest) -> Option<Component> {
    let kept = engine.precompiled()?.load(engine.wasmtime(), digest);
    match kept {
        Ok(component) => {
            if component.is_some() {
                engine.origins().kept.fetch_add(1, Ordering::Relaxed);
            }
            component
        }
        Err(error) => {
            engine.origins().refused.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(module = %digest, error = %told(&error), "kept code is not used: the policy is compiled");
            None
        }
    }
}

fn compile(engine: &Engine, digest: Digest, bytes: &[u8]) -> Result<Component, LoadError> {
    let code = on_threads_that_end(|| machine_code(engine, bytes))??;
    let component = put_together(engine, &code).map_err(LoadError::Compile)?;
    engine.origins().compiled.fetch_add(1, Ordering::Relaxed);
    if let Some(Err(error)) = engine
        .precompiled()
        .map(|folder| folder.store(digest, &component))
    {
        tracing::warn!(module = %digest, error = %told(&error), "code could not be kept for the next start");
    }
    Ok(component)
}

/// Works on all processors. The threads end with the work, and so gives the allocator back what they
/// kept for more of it.
fn on_threads_that_end<T: Send>(work: impl FnOnce() -> T + Send) -> Result<T, LoadError> {
    ThreadPoolBuilder::new()
        .thread_name(|number| format!("compile-{number}"))
        .build_scoped(ThreadBuilder::run, |pool| pool.install(work))
        .map_err(LoadError::Threads)
}

/// By a compiler that is dropped: it would keep tens of megabytes for ever.
fn machine_code(engine: &Engine, bytes: &[u8]) -> Result<Vec<u8>, LoadError> {
    let compiler = engine.for_compiling().map_err(LoadError::Compiler)?;
    compiler.precompile_component(bytes).map_err(LoadError::Compile)
}

/// A component from what [`machine_code`] gave.
#[expect(
    unsafe_code,
    reason = "machine code is trusted blindly: this was made a moment ago, in this process, from bytes \
              that were validated, and was never outside of it"
)]
fn put_together(engine: &Engine, code: &[u8]) -> wasmtime::Result<Component> {
    // SAFETY: `code` is what an engine of the same settings made of a component, unchanged.
    unsafe { Component::deserialize(engine.wasmtime(), code) }
}
