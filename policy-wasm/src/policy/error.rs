//! Why a policy was not loaded.

use std::fmt;

use crate::{EngineError, SettingsError};

/// A problem that the policy has with its settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingsProblem {
    /// The path of the key; empty for the whole.
    pub path: String,
    /// What is wrong with it.
    pub message: String,
}

impl fmt::Display for SettingsProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.is_empty() {
            f.write_str(&self.message)
        } else {
            write!(f, "{}: {}", self.path, self.message)
        }
    }
}

/// Why a policy was not loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file is larger than any policy.
    #[error("the component has {bytes} bytes; at most {max} are allowed")]
    Size {
        /// Its size.
        bytes: usize,
        /// The most.
        max: usize,
    },
    /// The file is not WebAssembly, or not in binary form.
    #[error("the file is not a WebAssembly component")]
    NotAComponent,
    /// WebAssembly, but the kind without interfaces.
    #[error(
        "the file is a core WebAssembly module; a policy is a component (link it with wasm-component-ld)"
    )]
    CoreModule,
    /// The component is invalid, or uses WebAssembly that is switched off.
    #[error("the component does not compile")]
    Compile(#[source] wasmtime::Error),
    /// There is no compiler.
    #[error("the compiler did not start")]
    Compiler(#[source] EngineError),
    /// The system refused the threads to compile on.
    #[error("there are no threads to compile the component on")]
    Threads(#[source] rayon::ThreadPoolBuildError),
    /// The component wants to reach out.
    #[error("the component imports {}; a policy may import nothing but its log", .0.join(", "))]
    ForeignImports(Vec<String>),
    /// The exports, or the type of an import, are not those of the world.
    #[error("the component is not of the world {}", crate::WIT_VERSION)]
    World(#[source] wasmtime::Error),
    /// No instance could be made.
    #[error("the component cannot be instantiated within its limits")]
    Instantiate(#[source] wasmtime::Error),
    /// `describe` or `validate-settings` failed.
    #[error("the policy's {export} failed: {reason}")]
    Call {
        /// The export.
        export: &'static str,
        /// What happened.
        reason: String,
    },
    /// The policy described its settings with something that is no JSON object.
    #[error("the policy's settings schema is not a JSON object")]
    Schema,
    /// The settings have no canonical form.
    #[error("the policy's settings cannot be used")]
    Settings(#[source] SettingsError),
    /// The policy does not accept its settings.
    #[error("the policy refuses its settings: {}", join(.0))]
    SettingsRefused(Vec<SettingsProblem>),
    /// A limit that the engine cannot hold.
    #[error("the limit {limit} is {value}, but at most {max} is possible")]
    Limit {
        /// Its name.
        limit: &'static str,
        /// Its value.
        value: u64,
        /// The engine's.
        max: u64,
    },
}

fn join(problems: &[SettingsProblem]) -> String {
    let texts: Vec<String> = problems.iter().map(ToString::to_string).collect();
    texts.join("; ")
}
