//! The vendor's library: loaded and initialised once in a process, and the one
//! place where its functions are called.
//!
//! Invariant: `C_Finalize` is called only when no session of ours exists,
//! because a [`ModuleSession`] holds the module it belongs to. Handle numbers
//! start again after `C_Initialize`, so a session that outlived it would close
//! somebody else's.
//!
//! Every call is traced at debug level with the function, the return value and
//! the time, never with data.

use std::{
    collections::HashMap,
    fmt, mem,
    path::{Path, PathBuf},
    sync::{Arc, LazyLock},
};

use cryptoki::{
    context::{CInitializeArgs, CInitializeFlags, Pkcs11},
    error::Error as Pkcs11Error,
    session::Session,
    slot::Slot,
};
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::{
    metrics::Metrics,
    rv::{Class, ReturnValue},
};

/// A PKCS#11 function that did not return `CKR_OK`.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{function}: {problem}")]
pub struct CallError {
    function: String,
    problem: Problem,
}

#[derive(Clone, Debug, Eq, PartialEq)]
enum Problem {
    Returned(ReturnValue),
    /// The binding could not make sense of the answer.
    Odd(String),
}

impl CallError {
    /// What the return value calls for.
    pub fn class(&self) -> Class {
        match &self.problem {
            Problem::Returned(rv) => rv.class(),
            Problem::Odd(_) => Class::Device,
        }
    }

    /// The C function, such as `C_Sign`.
    pub fn function(&self) -> &str {
        &self.function
    }

    /// The return value's name, such as `CKR_DEVICE_ERROR`.
    pub fn rv(&self) -> &'static str {
        match &self.problem {
            Problem::Returned(rv) => rv.name(),
            Problem::Odd(_) => "odd_answer",
        }
    }

    fn new(function: &'static str, error: &Pkcs11Error) -> Self {
        match error {
            Pkcs11Error::Pkcs11(rv, function) => Self {
                function: format!("C_{function:?}"),
                problem: Problem::Returned(ReturnValue::from(*rv)),
            },
            other => Self {
                function: function.to_owned(),
                problem: Problem::Odd(other.to_string()),
            },
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Returned(rv) => rv.fmt(f),
            Self::Odd(text) => f.write_str(text),
        }
    }
}

/// Why a module cannot be used.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModuleError {
    /// There is no such file, or it is not a PKCS#11 library.
    #[error("cannot load the PKCS#11 module {}: {reason}", path.display())]
    Load {
        /// The file.
        path: PathBuf,
        /// What the loader said.
        reason: String,
    },
    /// `C_Initialize` failed.
    #[error("cannot initialise the PKCS#11 module {}", path.display())]
    Initialize {
        /// The file.
        path: PathBuf,
        /// The call.
        source: CallError,
    },
}

/// One user of a loaded module; the last one to be dropped finalises it.
pub(crate) struct Module {
    path: PathBuf,
    functions: Pkcs11,
    metrics: Metrics,
}

struct Loaded {
    functions: Pkcs11,
    users: usize,
}

/// Modules in use in this process. `C_Initialize` is for the whole process, so
/// two users of one module must share it.
static LOADED: LazyLock<Mutex<HashMap<PathBuf, Loaded>>> = LazyLock::new(Mutex::default);

impl Module {
    /// Loads and initialises the module, or joins those who use it already.
    pub(crate) fn load(path: &Path, metrics: &Metrics) -> Result<Arc<Self>, ModuleError> {
        Self::load_through(path, None, metrics)
    }

    /// As [`Module::load`], but the file is opened by another name, such as that of a descriptor.
    pub(crate) fn load_through(
        path: &Path,
        through: Option<&Path>,
        metrics: &Metrics,
    ) -> Result<Arc<Self>, ModuleError> {
        let not_loaded = |reason: String| ModuleError::Load {
            path: path.to_owned(),
            reason,
        };
        let path = path
            .canonicalize()
            .map_err(|error| not_loaded(error.to_string()))?;
        let mut loaded = LOADED.lock();
        let functions = match loaded.get_mut(&path) {
            Some(module) => {
                module.users += 1;
                module.functions.clone()
            }
            None => {
                let functions =
                    Pkcs11::new(through.unwrap_or(&path)).map_err(|error| not_loaded(error.to_string()))?;
                initialize(&functions, metrics).map_err(|source| ModuleError::Initialize {
                    path: path.clone(),
                    source,
                })?;
                // The library stays mapped for the life of the process: one that were unloaded by
                // a worker while the main thread leaves would take the code of its own exit
                // handlers with it.
                mem::forget(functions.clone());
                loaded.insert(
                    path.clone(),
                    Loaded {
                        functions: functions.clone(),
                        users: 1,
                    },
                );
                functions
            }
        };
        Ok(Arc::new(Self {
            path,
            functions,
            metrics: metrics.clone(),
        }))
    }

    /// Finalises and initialises again, if nobody else uses the module. The
    /// cure for a module that looked at its tokens while another process
    /// rewrote them.
    pub(crate) fn reload(self: Arc<Self>) -> Result<Arc<Self>, ModuleError> {
        let (path, metrics) = (self.path.clone(), self.metrics.clone());
        drop(self);
        Self::load(&path, &metrics)
    }

    /// Calls one function, with its trace and its metric.
    pub(crate) fn call<T>(
        &self,
        function: &'static str,
        call: impl FnOnce(&Pkcs11) -> cryptoki::error::Result<T>,
    ) -> Result<T, CallError> {
        observe(&self.metrics, function, || call(&self.functions))
    }

    pub(crate) fn open_session(
        self: &Arc<Self>,
        slot: Slot,
        kind: SessionKind,
    ) -> Result<ModuleSession, CallError> {
        let session = self.call("C_OpenSession", |pkcs11| match kind {
            SessionKind::ReadOnly => pkcs11.open_ro_session(slot),
            SessionKind::ReadWrite => pkcs11.open_rw_session(slot),
        })?;
        Ok(ModuleSession {
            session,
            module: Arc::clone(self),
        })
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl fmt::Debug for Module {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Module")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

impl Drop for Module {
    fn drop(&mut self) {
        let mut loaded = LOADED.lock();
        let Some(module) = loaded.get_mut(&self.path) else {
            return;
        };
        module.users -= 1;
        if module.users == 0 {
            loaded.remove(&self.path);
            let functions = self.functions.clone();
            // An error is traced and counted; there is nothing else to do.
            let _ = observe(&self.metrics, "C_Finalize", || functions.finalize());
        }
    }
}

/// `OS_LOCKING_OK` is what makes a module safe to call from several threads;
/// without it SoftHSM crashes.
fn initialize(functions: &Pkcs11, metrics: &Metrics) -> Result<(), CallError> {
    observe(metrics, "C_Initialize", || {
        functions.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK))
    })
}

fn observe<T>(
    metrics: &Metrics,
    function: &'static str,
    call: impl FnOnce() -> cryptoki::error::Result<T>,
) -> Result<T, CallError> {
    let start = Instant::now();
    let result = call();
    let micros = start.elapsed().as_micros();
    match result {
        Ok(value) => {
            tracing::debug!(target: "sealwright_hsm::pkcs11", function, rv = "CKR_OK", micros);
            Ok(value)
        }
        Err(error) => {
            let error = CallError::new(function, &error);
            metrics.call_failed(error.function(), error.rv(), error.class().as_str());
            tracing::debug!(
                target: "sealwright_hsm::pkcs11",
                function = error.function(),
                rv = error.rv(),
                micros
            );
            Err(error)
        }
    }
}

/// Whether a session may change the token.
#[derive(Clone, Copy, Debug)]
pub(crate) enum SessionKind {
    ReadOnly,
    ReadWrite,
}

/// A session with the module it belongs to. The order of the fields matters:
/// the session is closed before its module may be finalised.
#[derive(Debug)]
pub(crate) struct ModuleSession {
    session: Session,
    module: Arc<Module>,
}

impl ModuleSession {
    /// Calls one function of the session, with its trace and its metric.
    pub(crate) fn call<T>(
        &self,
        function: &'static str,
        call: impl FnOnce(&Session) -> cryptoki::error::Result<T>,
    ) -> Result<T, CallError> {
        observe(&self.module.metrics, function, || call(&self.session))
    }

    /// Forgets a session that does not exist any more in the module: to close
    /// it could close another that got its number.
    pub(crate) fn forget(self) {
        let Self { session, module } = self;
        mem::forget(session);
        drop(module);
    }
}
