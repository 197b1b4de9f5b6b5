//! The settings of the baseline policy.

use sealwright_policy_sdk::{Input, SettingsProblem, problem};
use serde::Deserialize;

use crate::{Workload, pattern::matches};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Settings {
    /// Trust domains that are served.
    pub(crate) trust_domains: Vec<String>,
    /// Patterns of namespaces.
    #[serde(default)]
    pub(crate) namespaces: Option<Vec<String>>,
    /// Patterns of namespaces that are not served, whatever `namespaces` says.
    #[serde(default)]
    pub(crate) excluded_namespaces: Option<Vec<String>>,
    /// Patterns of service accounts.
    #[serde(default)]
    pub(crate) service_accounts: Option<Vec<String>>,
    /// `jwt`, `client-certificate`.
    #[serde(default)]
    pub(crate) auth_sources: Option<Vec<String>>,
    /// `p256`, `p384`, `ed25519`, `rsa2048`, …
    #[serde(default)]
    pub(crate) key_types: Option<Vec<String>>,
    /// Lifetime caps; the first whose pattern matches the namespace counts.
    #[serde(default)]
    lifetime_caps: Vec<LifetimeCap>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LifetimeCap {
    /// A pattern of namespaces.
    namespace: String,
    max_seconds: u64,
}

impl Settings {
    /// The shortest cap of the caller's identities, inside the ceiling.
    pub(crate) fn cap(&self, input: &Input) -> Option<u64> {
        input
            .caller
            .identities
            .iter()
            .filter_map(|identity| {
                let namespace = Workload::of(identity)?.namespace;
                self.lifetime_caps
                    .iter()
                    .find(|cap| matches(&cap.namespace, namespace))
            })
            .map(|cap| cap.max_seconds.min(input.ceiling.max_lifetime_seconds))
            .min()
    }

    pub(crate) fn problems(&self) -> Vec<SettingsProblem> {
        let mut problems = Vec::new();
        let mut empty = |path: &str, list: Option<&[String]>| match list {
            Some([]) => problems.push(problem(path, "is empty, so that nobody would be served")),
            Some(items) => {
                for (index, _) in items.iter().enumerate().filter(|(_, item)| item.is_empty()) {
                    problems.push(problem(format!("{path}[{index}]"), "is empty"));
                }
            }
            None => {}
        };
        empty("trust_domains", Some(&self.trust_domains));
        empty("namespaces", self.namespaces.as_deref());
        empty("excluded_namespaces", self.excluded_namespaces.as_deref());
        empty("service_accounts", self.service_accounts.as_deref());
        empty("auth_sources", self.auth_sources.as_deref());
        empty("key_types", self.key_types.as_deref());
        self.check_words(&mut problems);
        for (index, cap) in self.lifetime_caps.iter().enumerate() {
            if cap.max_seconds == 0 {
                let path = format!("lifetime_caps[{index}].max_seconds");
                problems.push(problem(path, "is zero"));
            }
        }
        problems
    }

    /// A misspelled word would refuse everybody, and say why only then.
    fn check_words(&self, problems: &mut Vec<SettingsProblem>) {
        let is_source = |word: &str| matches!(word, "jwt" | "client-certificate");
        let is_key = |word: &str| {
            matches!(word, "p256" | "p384" | "ed25519")
                || word
                    .strip_prefix("rsa")
                    .is_some_and(|bits| bits.parse::<u32>().is_ok())
        };
        for (index, word) in self.auth_sources.iter().flatten().enumerate() {
            if !is_source(word) {
                problems.push(problem(
                    format!("auth_sources[{index}]"),
                    format!("{word:?} is neither \"jwt\" nor \"client-certificate\""),
                ));
            }
        }
        for (index, word) in self.key_types.iter().flatten().enumerate() {
            if !is_key(word) {
                problems.push(problem(
                    format!("key_types[{index}]"),
                    format!("{word:?} is no kind of key, as in \"p256\" or \"rsa2048\""),
                ));
            }
        }
    }
}
