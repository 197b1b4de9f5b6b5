//! A policy: a component, its settings and its limits, ready to decide.
//!
//! Loading is where everything that can be wrong with a policy comes to light:
//! the bytes, the world, the imports, the settings. A [`Policy`] that exists
//! has described itself and accepted its settings.

mod compile;
mod error;
mod failure;

use std::{fmt, sync::Arc};

use sealwright_identity::Digest;
use serde::Serialize;
use serde_json::Value;
use wasmtime::Store;

pub(crate) use self::compile::CompiledCache;
pub use self::error::{LoadError, SettingsProblem};
use self::failure::Failure;
use crate::{
    Engine, Evaluation, Limits, PolicyInput, Verdict,
    bindings::{self, PolicyPre, sealwright::policy::types as wit},
    combine,
    decision::tame,
    guard::Guard,
    lane::Cost,
    settings,
};

/// Fuel for instantiation. It is not part of the verdict: what it charges
/// differs by platform and by how the component was loaded.
const INSTANTIATION_FUEL: u64 = 100_000_000;
/// Fuel for `describe` and `validate-settings`, each.
const LOAD_FUEL: u64 = 100_000_000;
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
    component: Arc<PolicyPre<Guard>>,
    module: Digest,
    settings_json: String,
    settings: Digest,
    limits: Limits,
    description: Description,
    /// What its decisions cost of late.
    cost: Cost,
}

/// What a policy says about itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Description {
    /// The name that it gives itself.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The JSON Schema of its settings, an object.
    pub settings_schema: Value,
}

impl Policy {
    /// Compiles the component, checks its world, lets it describe itself and
    /// check its settings. Takes some tens of milliseconds of CPU: not for an
    /// async worker.
    ///
    /// # Errors
    /// Says what is wrong with the component, the settings or the limits.
    pub fn load(engine: &Engine, source: PolicySource) -> Result<Self, LoadError> {
        let policy = Self::described(engine, source)?;
        policy.validate_settings()?;
        Ok(policy)
    }

    /// What a component says about itself, before anybody has settings for it.
    ///
    /// # Errors
    /// Says what is wrong with the component.
    pub fn describe(engine: &Engine, component: Vec<u8>) -> Result<Description, LoadError> {
        let source = PolicySource {
            name: String::new(),
            component,
            settings: Value::Object(serde_json::Map::new()),
            limits: Limits::default(),
        };
        Ok(Self::described(engine, source)?.description)
    }

    /// A policy that has not seen its settings.
    pub(crate) fn described(engine: &Engine, source: PolicySource) -> Result<Self, LoadError> {
        let PolicySource {
            name,
            component,
            settings,
            limits,
        } = source;
        check_limits(engine, &limits)?;
        let settings_json = settings::canonical_settings(&settings).map_err(LoadError::Settings)?;
        let module = Digest::of(&component);
        let component = engine.compiled().get_or_compile(engine, module, &component)?;
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
            cost: Cost::default(),
        };
        policy.description = policy.call_describe()?;
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

    /// The machine code that its component was made into, for another engine of this process.
    pub(crate) fn code(&self) -> wasmtime::Result<Vec<u8>> {
        compile::code_of(&self.component)
    }

    /// Decides in a fresh instance, on this thread, which is blocked for as
    /// long as the epoch deadline. [`crate::PolicyHost`] is for servers; this is
    /// for replays.
    #[must_use]
    pub fn evaluate(&self, input: &PolicyInput) -> Evaluation {
        self.evaluate_wit(input, &input.to_wit())
    }

    /// Whether it belongs in the slow lane.
    pub(crate) fn is_dear(&self) -> bool {
        self.cost.is_dear()
    }

    /// Decides, and remembers what that cost.
    pub(crate) fn evaluate_measured(&self, input: &PolicyInput, record: &wit::Input) -> Evaluation {
        self.cost
            .measure(|| self.evaluate_wit(input, record), |evaluation| evaluation.fuel)
    }

    fn evaluate_wit(&self, input: &PolicyInput, record: &wit::Input) -> Evaluation {
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
                let reason = failure::of_instantiation(&error);
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
            Err(error) => match failure::of_call(&self.name, &error) {
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
    pub(crate) fn instantiate(&self, fuel: u64) -> wasmtime::Result<(Store<Guard>, bindings::Policy)> {
        let mut store = Store::new(self.engine.wasmtime(), Guard::new(&self.limits));
        store.limiter(|guard| guard);
        store.set_hostcall_fuel(usize::try_from(self.limits.hostcall_bytes).unwrap_or(usize::MAX));
        store.set_epoch_deadline(self.engine.epoch_ticks());
        store.set_fuel(INSTANTIATION_FUEL)?;
        let instance = self.component.instantiate(&mut store)?;
        store.set_fuel(fuel)?;
        Ok((store, instance))
    }

    fn call_describe(&self) -> Result<Description, LoadError> {
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

    pub(crate) fn validate_settings(&self) -> Result<(), LoadError> {
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
        let reason = match failure::of_call(&self.name, error) {
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
