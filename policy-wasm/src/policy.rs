//! A policy: a component, its settings and its limits, ready to decide.
//!
//! Loading is where everything that can be wrong with a policy comes to light:
//! the bytes, the world, the imports, the settings. A [`Policy`] that exists
//! has described itself and accepted its settings.

use std::fmt;

use sealwright_identity::Digest;
use serde_json::Value;
use wasmtime::{
    PoolConcurrencyLimitError, Store, Trap,
    component::{Component, HasSelf, Linker},
};

use crate::{
    AbortReason, Denial, Engine, Evaluation, Limits, PolicyInput, SettingsError, Verdict,
    bindings::{self, PolicyPre, sealwright::policy::types as wit},
    combine,
    decision::{code, tame},
    guard::{Guard, HostFault},
    settings,
};

/// Fuel for instantiation. It is not part of the verdict: what it charges
/// differs by platform and by how the component was loaded.
const INSTANTIATION_FUEL: u64 = 100_000_000;
/// Fuel for `describe` and `validate-settings`, each.
const LOAD_FUEL: u64 = 100_000_000;
/// The header of a component, and of a core module: magic, version, layer.
const COMPONENT_HEADER: &[u8] = b"\0asm\x0d\0\x01\0";
const CORE_MODULE_HEADER: &[u8] = b"\0asm\x01\0\0\0";
/// What a component of the world may import: its types, and the log.
const ALLOWED_IMPORTS: [&str; 2] = ["log", "sealwright:policy/types@1.0.0"];
/// Problems with settings that are shown.
const MAX_PROBLEMS: usize = 16;
const MAX_TEXT: usize = 256;

/// What a policy is made from.
#[derive(Clone, Debug)]
pub struct PolicySource {
    /// Its configured name.
    pub name: String,
    /// The component's bytes. Precompiled code is not accepted.
    pub component: Vec<u8>,
    /// Its settings.
    pub settings: Value,
    /// Its limits.
    pub limits: Limits,
}

/// A policy that can decide.
pub struct Policy {
    name: String,
    engine: Engine,
    component: PolicyPre<Guard>,
    module: Digest,
    settings_json: String,
    settings: Digest,
    limits: Limits,
    description: Description,
}

/// What a policy says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Description {
    name: String,
    version: String,
    settings_schema: Value,
}

impl Policy {
    /// Compiles the component, checks its world, lets it describe itself and
    /// check its settings. Takes some tens of milliseconds of CPU: not for an
    /// async worker.
    ///
    /// # Errors
    /// Says what is wrong with the component, the settings or the limits.
    pub fn load(engine: &Engine, source: PolicySource) -> Result<Self, LoadError> {
        let PolicySource {
            name,
            component,
            settings,
            limits,
        } = source;
        check_limits(engine, &limits)?;
        let settings_json = settings::canonical_settings(&settings).map_err(LoadError::Settings)?;
        let module = Digest::of(&component);
        let component = compile(engine, &component)?;
        let mut policy = Self {
            name,
            engine: engine.clone(),
            component,
            module,
            settings: Digest::of(settings_json.as_bytes()),
            settings_json,
            limits,
            description: Description {
                name: String::new(),
                version: String::new(),
                settings_schema: Value::Null,
            },
        };
        policy.description = policy.describe()?;
        policy.validate_settings()?;
        Ok(policy)
    }

    /// Its configured name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// SHA-256 of the component's bytes.
    #[must_use]
    pub fn module(&self) -> Digest {
        self.module
    }

    /// SHA-256 of [`Policy::settings_json`].
    #[must_use]
    pub fn settings(&self) -> Digest {
        self.settings
    }

    /// The settings as RFC 8785 JSON.
    #[must_use]
    pub fn settings_json(&self) -> &str {
        &self.settings_json
    }

    /// Its limits.
    #[must_use]
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// The name that the component gives itself, and its version.
    #[must_use]
    pub fn described_as(&self) -> (&str, &str) {
        (&self.description.name, &self.description.version)
    }

    /// The JSON Schema of its settings.
    #[must_use]
    pub fn settings_schema(&self) -> &Value {
        &self.description.settings_schema
    }

    /// Decides in a fresh instance, on this thread, which is blocked for as
    /// long as the epoch deadline. [`crate::PolicyHost`] is for servers; this is
    /// for replays.
    #[must_use]
    pub fn evaluate(&self, input: &PolicyInput) -> Evaluation {
        self.evaluate_wit(input, &input.to_wit())
    }

    pub(crate) fn evaluate_wit(&self, input: &PolicyInput, record: &wit::Input) -> Evaluation {
        let mut evaluation = Evaluation {
            name: self.name.clone(),
            module: self.module,
            settings: self.settings,
            limits: self.limits,
            verdict: Verdict::Aborted,
            fuel: 0,
            narrowing: None,
            denial: None,
            aborted: None,
            log: Vec::new(),
        };
        let (mut store, instance) = match self.instantiate(self.limits.fuel) {
            Ok(ready) => ready,
            Err(error) => {
                let reason = abort_of_instantiation(&error);
                tracing::warn!(policy = self.name, reason = reason.as_str(), %error, "no policy instance");
                evaluation.aborted = Some(reason);
                return evaluation;
            }
        };
        let answer = instance.call_decide(&mut store, &self.settings_json, record);
        evaluation.fuel = self.limits.fuel - store.get_fuel().unwrap_or(0).min(self.limits.fuel);
        evaluation.log = std::mem::take(&mut store.data_mut().log);
        let verdict = match answer {
            Ok(answer) => combine::verdict(&self.name, answer, &input.ceiling),
            Err(error) => match classify(&self.name, &error) {
                Failure::Denies(denial) => Err(denial),
                Failure::Aborts(reason) => {
                    evaluation.aborted = Some(reason);
                    return evaluation;
                }
            },
        };
        match verdict {
            Ok(narrowing) => {
                evaluation.verdict = Verdict::Allow;
                evaluation.narrowing = Some(narrowing);
            }
            Err(denial) => {
                evaluation.verdict = Verdict::Deny;
                evaluation.denial = Some(denial);
            }
        }
        evaluation
    }

    /// A fresh instance with `fuel` left. What instantiation takes is not
    /// counted in it.
    fn instantiate(&self, fuel: u64) -> wasmtime::Result<(Store<Guard>, bindings::Policy)> {
        let mut store = Store::new(self.engine.wasmtime(), Guard::new(&self.limits));
        store.limiter(|guard| guard);
        store.set_hostcall_fuel(usize::try_from(self.limits.hostcall_bytes).unwrap_or(usize::MAX));
        store.set_epoch_deadline(self.engine.epoch_ticks());
        store.set_fuel(INSTANTIATION_FUEL)?;
        let instance = self.component.instantiate(&mut store)?;
        store.set_fuel(fuel)?;
        Ok((store, instance))
    }

    fn describe(&self) -> Result<Description, LoadError> {
        let (mut store, instance) = self.instantiate(LOAD_FUEL).map_err(LoadError::Instantiate)?;
        let wit::Description {
            name,
            version,
            settings_schema,
        } = instance
            .call_describe(&mut store)
            .map_err(|error| self.call_error("describe", &error))?;
        let schema = settings::parse_settings(&settings_schema)
            .ok()
            .filter(Value::is_object)
            .ok_or(LoadError::Schema)?;
        Ok(Description {
            name: tame(&name, MAX_TEXT),
            version: tame(&version, MAX_TEXT),
            settings_schema: schema,
        })
    }

    fn validate_settings(&self) -> Result<(), LoadError> {
        let (mut store, instance) = self.instantiate(LOAD_FUEL).map_err(LoadError::Instantiate)?;
        instance
            .call_validate_settings(&mut store, &self.settings_json)
            .map_err(|error| self.call_error("validate-settings", &error))?
            .map_err(|problems| {
                LoadError::SettingsRefused(
                    problems
                        .iter()
                        .take(MAX_PROBLEMS)
                        .map(|problem| SettingsProblem {
                            path: tame(&problem.path, MAX_TEXT),
                            message: tame(&problem.message, MAX_TEXT),
                        })
                        .collect(),
                )
            })
    }

    fn call_error(&self, export: &'static str, error: &wasmtime::Error) -> LoadError {
        let reason = match classify(&self.name, error) {
            Failure::Denies(denial) => format!("{} ({})", denial.message, denial.code),
            Failure::Aborts(reason) => reason.to_string(),
        };
        LoadError::Call { export, reason }
    }
}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Policy")
            .field("name", &self.name)
            .field("module", &self.module)
            .field("settings", &self.settings)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

fn check_limits(engine: &Engine, limits: &Limits) -> Result<(), LoadError> {
    let most = engine.settings();
    let checks = [
        ("fuel", limits.fuel, u64::MAX / 2),
        ("memory_bytes", limits.memory_bytes, most.max_memory_bytes),
        ("table_elements", limits.table_elements, most.max_table_elements),
        ("hostcall_bytes", limits.hostcall_bytes, 1 << 20),
        ("log_bytes", u64::from(limits.log_bytes), 16 << 10),
    ];
    match checks.into_iter().find(|(_, value, max)| value > max) {
        Some((limit, value, max)) => Err(LoadError::Limit { limit, value, max }),
        None => Ok(()),
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
        .map(|name| tame(name, MAX_TEXT))
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

/// What a failed call means.
enum Failure {
    /// The policy's doing, and the same every time.
    Denies(Denial),
    /// Not the policy's doing, or not repeatable.
    Aborts(AbortReason),
}

fn classify(policy: &str, error: &wasmtime::Error) -> Failure {
    let denies = |code, message: String| Failure::Denies(combine::fault(policy, code, message));
    match (error.downcast_ref::<Trap>(), error.downcast_ref::<HostFault>()) {
        (Some(Trap::Interrupt), _) => Failure::Aborts(AbortReason::Epoch),
        (Some(Trap::OutOfFuel), _) => denies(code::POLICY_FUEL, "the policy used up its fuel".to_owned()),
        (Some(trap), _) => denies(code::POLICY_TRAP, format!("the policy failed: {trap}")),
        (None, Some(HostFault::Log)) => {
            denies(code::POLICY_LOG, "the policy logged more than it may".to_owned())
        }
        (None, Some(HostFault::Memory)) => Failure::Aborts(AbortReason::Memory),
        // What is left comes from reading the answer: text that is not UTF-8, a
        // pointer out of bounds, more bytes than may be handed over.
        (None, None) => denies(
            code::POLICY_OUTPUT,
            "the policy's answer is malformed or too large".to_owned(),
        ),
    }
}

fn abort_of_instantiation(error: &wasmtime::Error) -> AbortReason {
    if error.is::<PoolConcurrencyLimitError>() {
        AbortReason::PoolFull
    } else if error.is::<std::io::Error>() || error.is::<HostFault>() {
        AbortReason::Memory
    } else {
        AbortReason::Instantiation
    }
}

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
