//! What an issuer may ever grant: policies narrow it, nothing widens it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{DnsPattern, KeyType, San, TrustDomain, Usage};

/// The outer bound of everything that an issuer signs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ceiling {
    /// SPIFFE IDs of this trust domain only.
    pub trust_domain: TrustDomain,
    /// DNS names; none by default.
    pub dns: Vec<DnsPattern>,
    /// The longest lifetime, counted from the moment of issuance.
    pub max_lifetime: Duration,
    /// The lifetime when none is asked for.
    pub default_lifetime: Duration,
    /// Kinds of keys that may be certified.
    pub key_types: Vec<KeyType>,
    /// Usages that may be granted.
    pub usages: Vec<Usage>,
    /// Whether a subject has a common name.
    pub common_name: CommonName,
}

impl Ceiling {
    /// Whether a name is inside. Addresses never are: only serving certificates of our own have any.
    #[must_use]
    pub fn allows_san(&self, san: &San) -> bool {
        match san {
            San::Uri(id) => *id.trust_domain() == self.trust_domain,
            San::Dns(name) => self.dns.iter().any(|pattern| pattern.matches(name)),
            San::Ip(_) => false,
        }
    }
}

/// The common name in a leaf's subject.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CommonName {
    /// Never one: the subject is empty.
    #[default]
    None,
    /// The first name, when the request has a common name of its own ("dual use").
    FirstName,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_inside_only_by_trust_domain_or_pattern() {
        let ceiling = Ceiling {
            trust_domain: "a".parse().unwrap(),
            dns: vec!["*.svc".parse().unwrap()],
            max_lifetime: Duration::from_secs(2),
            default_lifetime: Duration::from_secs(1),
            key_types: vec![KeyType::P256],
            usages: vec![Usage::ServerAuth],
            common_name: CommonName::None,
        };
        let allows = |text: &str| ceiling.allows_san(&text.parse().unwrap());
        assert!(allows("URI:spiffe://a/x") && allows("DNS:b.svc"));
        assert!(!allows("URI:spiffe://b/x") && !allows("DNS:b.c.svc") && !allows("IP:127.0.0.1"));
    }
}
