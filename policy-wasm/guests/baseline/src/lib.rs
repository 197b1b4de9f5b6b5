//! The stock policy: who may have a certificate at all, and for how long.
//!
//! Every list in the settings but `excluded_namespaces` is a list of what is
//! allowed; an absent list does not restrict. `trust_domains` must be given,
//! because a policy that restricts nothing is better not configured by
//! accident.

mod pattern;
mod settings;

use sealwright_policy_sdk::{Input, Policy, SettingsProblem, Verdict, allow, deny, narrow};

use crate::{pattern::matches, settings::Settings};

struct Baseline;

impl Policy for Baseline {
    type Settings = Settings;

    const NAME: &'static str = "baseline";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const SETTINGS_SCHEMA: &'static str = include_str!("schema.json");

    fn validate(settings: &Settings) -> Vec<SettingsProblem> {
        settings.problems()
    }

    fn decide(settings: &Settings, input: &Input) -> Verdict {
        refusal(settings, input).unwrap_or_else(|| match settings.cap(input) {
            Some(seconds) => narrow().lifetime_seconds(seconds).into(),
            None => allow(),
        })
    }
}

/// The first rule that refuses.
fn refusal(settings: &Settings, input: &Input) -> Option<Verdict> {
    let caller = &input.caller;
    if !allowed(&settings.auth_sources, &caller.source, |a, b| a == b) {
        let message = format!("callers authenticated by {:?} are not served", caller.source);
        return Some(
            deny("AUTH_SOURCE_NOT_ALLOWED", message)
                .field("caller.source")
                .into(),
        );
    }
    if !allowed(&settings.key_types, &input.csr.key_type, |a, b| a == b) {
        let message = format!("keys of the type {} are not certified", input.csr.key_type);
        let hint = settings.key_types.iter().flatten().cloned();
        return Some(
            deny("KEY_TYPE_NOT_ALLOWED", message)
                .field("csr.key_type")
                .hint(format!("use one of {}", hint.collect::<Vec<_>>().join(", ")))
                .into(),
        );
    }
    if caller.identities.is_empty() {
        return Some(
            deny("NO_IDENTITY", "the caller has no identity")
                .field("caller.identities")
                .into(),
        );
    }
    caller
        .identities
        .iter()
        .enumerate()
        .find_map(|(index, identity)| refusal_of(settings, index, identity))
}

fn refusal_of(settings: &Settings, index: usize, identity: &str) -> Option<Verdict> {
    let refuse = |code: &str, message: String| -> Option<Verdict> {
        let field = format!("caller.identities[{index}]");
        Some(deny(code, message).field(field).into())
    };
    let Some(name) = Workload::of(identity) else {
        return refuse(
            "IDENTITY_SHAPE",
            format!("{identity:?} is not spiffe://TRUST-DOMAIN/ns/NAMESPACE/sa/SERVICE-ACCOUNT"),
        );
    };
    if !settings
        .trust_domains
        .iter()
        .any(|domain| domain == name.trust_domain)
    {
        return refuse(
            "TRUST_DOMAIN_NOT_ALLOWED",
            format!("the trust domain {:?} is not served", name.trust_domain),
        );
    }
    if !allowed(&settings.namespaces, name.namespace, matches) {
        return refuse(
            "NAMESPACE_NOT_ALLOWED",
            format!("the namespace {:?} is not served", name.namespace),
        );
    }
    if settings
        .excluded_namespaces
        .iter()
        .flatten()
        .any(|pattern| matches(pattern, name.namespace))
    {
        return refuse(
            "NAMESPACE_EXCLUDED",
            format!("the namespace {:?} is excluded", name.namespace),
        );
    }
    if !allowed(&settings.service_accounts, name.service_account, matches) {
        return refuse(
            "SERVICE_ACCOUNT_NOT_ALLOWED",
            format!("the service account {:?} is not served", name.service_account),
        );
    }
    None
}

/// An absent list allows everything.
fn allowed(list: &Option<Vec<String>>, value: &str, fits: impl Fn(&str, &str) -> bool) -> bool {
    match list {
        Some(list) => list.iter().any(|item| fits(item, value)),
        None => true,
    }
}

/// The parts of `spiffe://TRUST-DOMAIN/ns/NAMESPACE/sa/SERVICE-ACCOUNT`.
struct Workload<'a> {
    trust_domain: &'a str,
    namespace: &'a str,
    service_account: &'a str,
}

impl<'a> Workload<'a> {
    fn of(identity: &'a str) -> Option<Self> {
        let mut parts = identity.strip_prefix("spiffe://")?.split('/');
        let trust_domain = parts.next()?;
        let ("ns", namespace) = (parts.next()?, parts.next()?) else {
            return None;
        };
        let ("sa", service_account) = (parts.next()?, parts.next()?) else {
            return None;
        };
        let whole = parts.next().is_none();
        let full = ![trust_domain, namespace, service_account].contains(&"");
        (whole && full).then_some(Self {
            trust_domain,
            namespace,
            service_account,
        })
    }
}

sealwright_policy_sdk::export!(Baseline);
