//! For whom a revision speaks.

use sealwright_identity::{Identity, SpiffeId, TrustDomain};
use serde::{Deserialize, Serialize};

use crate::cbor::Value;
use crate::schema::{Fields, SchemaError};

/// The most items of one list.
const MAX_ITEMS: usize = 1024;

/// Which certificates a revision has a say in. An empty list means all; lists are sorted, each item once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scope {
    /// The trust domain.
    pub trust_domain: TrustDomain,
    /// Issuers, by name: those of the deployment, whose id covers names and keys.
    #[serde(default)]
    pub issuers: Vec<String>,
    /// Kubernetes namespaces.
    #[serde(default)]
    pub namespaces: Vec<String>,
    /// Service accounts, as `NAMESPACE/NAME`.
    #[serde(default)]
    pub service_accounts: Vec<String>,
}

impl Scope {
    /// All of a trust domain.
    #[must_use]
    pub const fn all_of(trust_domain: TrustDomain) -> Self {
        Self {
            trust_domain,
            issuers: Vec::new(),
            namespaces: Vec::new(),
            service_accounts: Vec::new(),
        }
    }

    /// Sorts the lists and takes out what is there twice.
    #[must_use]
    pub fn sorted(mut self) -> Self {
        for list in [
            &mut self.issuers,
            &mut self.namespaces,
            &mut self.service_accounts,
        ] {
            list.sort_unstable();
            list.dedup();
        }
        self
    }

    /// Whether the revision has a say in a certificate of these SPIFFE IDs by that issuer.
    ///
    /// What cannot be seen never exempts: an ID that is not of the form `/ns/NAMESPACE/sa/NAME` is covered by
    /// every list of namespaces and service accounts, and so is a certificate without an ID. Of several IDs one is
    /// enough. Where both lists are there, an ID must be on both to be covered.
    #[must_use]
    pub fn covers(&self, issuer: &str, ids: &[SpiffeId]) -> bool {
        let named = self.issuers.is_empty() || self.issuers.iter().any(|named| named == issuer);
        named && (ids.is_empty() || ids.iter().any(|id| self.covers_id(id)))
    }

    fn covers_id(&self, id: &SpiffeId) -> bool {
        if *id.trust_domain() != self.trust_domain {
            return false;
        }
        let Ok(identity) = Identity::try_from(id) else {
            return true;
        };
        let (namespace, name) = (identity.namespace(), identity.service_account());
        let listed =
            |list: &[String], is: &dyn Fn(&str) -> bool| list.is_empty() || list.iter().any(|item| is(item));
        listed(&self.namespaces, &|item| item == namespace)
            && listed(&self.service_accounts, &|item| {
                item.split_once('/') == Some((namespace, name))
            })
    }

    pub(super) fn to_value(&self) -> Value {
        let texts = |list: &[String]| Value::Array(list.iter().map(Value::text).collect());
        Value::map([
            ("trust-domain", Some(Value::text(self.trust_domain.as_str()))),
            ("issuers", Some(texts(&self.issuers))),
            ("namespaces", Some(texts(&self.namespaces))),
            ("service-accounts", Some(texts(&self.service_accounts))),
        ])
    }

    pub(super) fn from_fields(mut fields: Fields) -> Result<Self, SchemaError> {
        let trust_domain = fields.text("trust-domain")?.parse();
        let scope = Self {
            trust_domain: trust_domain.map_err(|error: sealwright_identity::TrustDomainError| {
                SchemaError::value("trust-domain", error.to_string())
            })?,
            issuers: fields.texts("issuers")?,
            namespaces: fields.texts("namespaces")?,
            service_accounts: fields.texts("service-accounts")?,
        };
        fields.finish()?;
        Ok(scope)
    }

    pub(super) fn check(&self) -> Result<(), SchemaError> {
        ascending("issuers", &self.issuers)?;
        ascending("namespaces", &self.namespaces)?;
        ascending("service-accounts", &self.service_accounts)?;
        for issuer in &self.issuers {
            super::revision::name("issuers", issuer)?;
        }
        for namespace in &self.namespaces {
            segment("namespaces", namespace)?;
        }
        for account in &self.service_accounts {
            let (namespace, name) = account.split_once('/').ok_or_else(|| {
                SchemaError::value("service-accounts", format!("{account:?} is not NAMESPACE/NAME"))
            })?;
            segment("service-accounts", namespace)?;
            segment("service-accounts", name)?;
        }
        Ok(())
    }
}

fn ascending<T: Ord>(key: &'static str, items: &[T]) -> Result<(), SchemaError> {
    if items.len() > MAX_ITEMS {
        return Err(SchemaError::value(
            key,
            format!("it has more than {MAX_ITEMS} items"),
        ));
    }
    if items.is_sorted_by(|one, next| one < next) {
        return Ok(());
    }
    Err(SchemaError::value(
        key,
        "its items are not sorted, or one is there twice",
    ))
}

/// A text that can be a segment of a SPIFFE ID: another one would never be met.
fn segment(key: &'static str, text: &str) -> Result<(), SchemaError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    if text.is_empty() || text.len() > 253 || text == "." || text == ".." || !text.chars().all(plain) {
        return Err(SchemaError::value(key, format!("{text:?} is no such name")));
    }
    Ok(())
}
