//! Who may have a certificate, and for how long: the pods of one team.
//!
//! A policy is a pure function of its settings and one request. It can allow, allow less than the
//! issuer would, or deny; whatever goes wrong in it, denies.

use sealwright_policy_sdk::{Input, Policy, SettingsProblem, Verdict, deny, narrow, problem};
use serde::Deserialize;

/// What stands under `settings`. `src/schema.json` describes the same for people and tools.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    /// Namespaces whose pods are served.
    namespaces: Vec<String>,
    /// The longest lifetime.
    max_seconds: u64,
}

struct OneTeam;

impl Policy for OneTeam {
    type Settings = Settings;

    const NAME: &'static str = env!("CARGO_PKG_NAME");
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const SETTINGS_SCHEMA: &'static str = include_str!("schema.json");

    /// Once, when the policy is loaded: what the types cannot say.
    fn validate(settings: &Settings) -> Vec<SettingsProblem> {
        let mut problems = Vec::new();
        if settings.namespaces.is_empty() {
            problems.push(problem("namespaces", "is empty, so that nobody would be served"));
        }
        if settings.max_seconds == 0 {
            problems.push(problem("max_seconds", "is zero"));
        }
        problems
    }

    /// For each request, in a fresh instance.
    fn decide(settings: &Settings, input: &Input) -> Verdict {
        let Some(pod) = &input.caller.kubernetes else {
            return deny("NO_POD", "only pods get a certificate here")
                .field("caller.kubernetes")
                .hint("authenticate with the token of a Kubernetes service account")
                .into();
        };
        if !settings.namespaces.contains(&pod.namespace) {
            return deny("NAMESPACE", format!("the namespace {:?} is not served", pod.namespace))
                .field("caller.kubernetes.namespace")
                .hint(format!("served are {}", settings.namespaces.join(", ")))
                .into();
        }
        // Never more than the issuer would grant: that would deny.
        let seconds = settings.max_seconds.min(input.ceiling.max_lifetime_seconds);
        narrow().lifetime_seconds(seconds).into()
    }
}

sealwright_policy_sdk::export!(OneTeam);
