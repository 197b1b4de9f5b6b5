//! Vectors in the production host: the same engine, the same limits, a fresh instance for each.

use std::{collections::HashMap, sync::Arc, time::Duration};

use serde_json::Value;
use tokio::time::Instant;

use super::{Allowed, Denied, Expect, Vector};
use crate::{
    Engine, Evaluation, Limits, LoadError, Policy, PolicyInput, PolicySource, Verdict, check_schema, settings,
};

/// Runs vectors against one module.
#[derive(Debug)]
pub struct VectorRunner {
    engine: Engine,
    component: Vec<u8>,
    limits: Limits,
    settings: Value,
    /// By canonical settings. `None` stands for nothing: a settings text that was refused is an error.
    policies: HashMap<String, Arc<Policy>>,
}

/// What came out of one vector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VectorOutcome {
    /// What the policy said.
    pub evaluation: Evaluation,
    /// What it granted, or how it refused, in the words of a vector.
    pub got: Option<Expect>,
    /// How that differs from what was expected; `None` when it does not.
    pub mismatch: Option<String>,
    /// How long the decision took, with the making of its instance.
    pub took: Duration,
}

impl VectorRunner {
    /// Loads the module with the settings that vectors without their own run with.
    ///
    /// # Errors
    /// When the module is no policy, or the settings are not of its schema or not accepted by it.
    pub fn new(
        engine: &Engine,
        component: Vec<u8>,
        settings: Value,
        limits: Limits,
    ) -> Result<Self, LoadError> {
        let mut runner = Self {
            engine: engine.clone(),
            component,
            limits,
            settings,
            policies: HashMap::new(),
        };
        runner.policy(None)?;
        Ok(runner)
    }

    /// The policy with these settings, or with those for all.
    ///
    /// # Errors
    /// When the settings are not of the module's schema, or not accepted by it.
    pub fn policy(&mut self, own: Option<&Value>) -> Result<Arc<Policy>, LoadError> {
        let wanted = own.unwrap_or(&self.settings);
        let key = settings::canonical_settings(wanted).map_err(LoadError::Settings)?;
        if let Some(policy) = self.policies.get(&key) {
            return Ok(Arc::clone(policy));
        }
        let source = PolicySource {
            name: "tested".to_owned(),
            component: self.component.clone(),
            settings: wanted.clone(),
            limits: self.limits,
        };
        let policy = Arc::new(load_by_schema(&self.engine, source)?);
        self.policies.insert(key, Arc::clone(&policy));
        Ok(policy)
    }

    /// Runs one vector.
    ///
    /// # Errors
    /// When the settings of its own are refused.
    pub fn run(&mut self, vector: &Vector) -> Result<VectorOutcome, LoadError> {
        let policy = self.policy(vector.settings.as_ref())?;
        let start = Instant::now();
        let evaluation = policy.evaluate(&vector.input);
        let took = start.elapsed();
        let (got, mismatch) = compare(&vector.expect, &evaluation, &vector.input);
        Ok(VectorOutcome {
            evaluation,
            got,
            mismatch,
            took,
        })
    }
}

/// Loads a policy whose settings are also held against the schema that the module gives: the schema's
/// problems name the key before the module is asked.
pub(crate) fn load_by_schema(engine: &Engine, source: PolicySource) -> Result<Policy, LoadError> {
    let settings = source.settings.clone();
    let policy = Policy::described(engine, source)?;
    let problems = check_schema(policy.settings_schema(), &settings);
    if !problems.is_empty() {
        return Err(LoadError::SettingsRefused(problems));
    }
    policy.validate_settings()?;
    Ok(policy)
}

/// What came out in the words of a vector, and how it differs from what was expected.
pub(crate) fn compare(
    expect: &Expect,
    evaluation: &Evaluation,
    input: &PolicyInput,
) -> (Option<Expect>, Option<String>) {
    let Some(got) = outcome(evaluation, input) else {
        let reason = evaluation.aborted.map(|reason| reason.to_string());
        return (None, Some(format!("aborted: {}", reason.unwrap_or_default())));
    };
    let mismatch = match (expect, &got) {
        (Expect::Allow(expected), Expect::Allow(got)) => [
            part(
                "lifetime_seconds",
                expected.lifetime_seconds.as_ref(),
                got.lifetime_seconds.as_ref(),
            ),
            part("names", expected.names.as_ref(), got.names.as_ref()),
            part("usages", expected.usages.as_ref(), got.usages.as_ref()),
        ]
        .into_iter()
        .flatten()
        .next(),
        (Expect::Deny(expected), Expect::Deny(got)) => part("code", Some(&expected.code), Some(&got.code))
            .or_else(|| part("field", expected.field.as_ref(), got.field.as_ref())),
        (Expect::Allow(_), Expect::Deny(_)) => Some(format!("expected allow, got {got}")),
        (Expect::Deny(_), Expect::Allow(_)) => Some(format!("expected {expect}, got allow")),
    };
    (Some(got), mismatch)
}

/// How one part differs; what is not expected is not compared.
fn part<T: PartialEq + std::fmt::Debug>(name: &str, expected: Option<&T>, got: Option<&T>) -> Option<String> {
    let expected = expected?;
    match got {
        Some(got) if got == expected => None,
        Some(got) => Some(format!("{name}: expected {expected:?}, got {got:?}")),
        None => Some(format!("{name}: expected {expected:?}, got none")),
    }
}

fn outcome(evaluation: &Evaluation, input: &PolicyInput) -> Option<Expect> {
    match evaluation.verdict {
        Verdict::Allow => {
            let narrowing = evaluation.narrowing.clone().unwrap_or_default();
            let ceiling = &input.ceiling;
            Some(Expect::Allow(Allowed {
                lifetime_seconds: Some(
                    narrowing
                        .lifetime
                        .map_or(ceiling.max_lifetime_seconds, |lifetime| lifetime.as_secs()),
                ),
                names: Some(narrowing.names.unwrap_or_else(|| ceiling.names.clone())),
                usages: Some(narrowing.usages.unwrap_or_else(|| ceiling.usages.clone())),
            }))
        }
        Verdict::Deny => {
            let denial = evaluation.denial.as_ref()?;
            Some(Expect::Deny(Denied {
                code: denial.code.clone(),
                field: denial.field.clone(),
            }))
        }
        Verdict::Aborted => None,
    }
}
