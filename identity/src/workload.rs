//! Istio's workload identity: trust domain, namespace and service account.

use std::{fmt, str::FromStr};

use crate::{SpiffeId, SpiffeIdError, TrustDomain, spiffe::check_segment, text::serde_as_text};

/// A workload as Istio names it: `spiffe://TRUST_DOMAIN/ns/NAMESPACE/sa/SERVICE_ACCOUNT`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Identity {
    trust_domain: TrustDomain,
    namespace: String,
    service_account: String,
    id: SpiffeId,
}

impl Identity {
    /// The identity of a service account.
    ///
    /// # Errors
    /// When a part cannot stand in a SPIFFE ID, or the whole is too long.
    pub fn new(
        trust_domain: &TrustDomain,
        namespace: &str,
        service_account: &str,
    ) -> Result<Self, IdentityError> {
        check_segment(namespace).map_err(IdentityError::Namespace)?;
        check_segment(service_account).map_err(IdentityError::ServiceAccount)?;
        let path = format!("/ns/{namespace}/sa/{service_account}");
        Ok(Self {
            trust_domain: trust_domain.clone(),
            namespace: namespace.to_owned(),
            service_account: service_account.to_owned(),
            id: SpiffeId::new(trust_domain, &path).map_err(IdentityError::SpiffeId)?,
        })
    }

    /// The trust domain.
    #[must_use]
    pub fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// The namespace.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The service account.
    #[must_use]
    pub fn service_account(&self) -> &str {
        &self.service_account
    }

    /// The same as a SPIFFE ID.
    #[must_use]
    pub fn spiffe_id(&self) -> &SpiffeId {
        &self.id
    }
}

impl TryFrom<&SpiffeId> for Identity {
    type Error = IdentityError;

    fn try_from(id: &SpiffeId) -> Result<Self, Self::Error> {
        let mut parts = id.path().split('/');
        let (root, ns, namespace, sa, account) = (
            parts.next(),
            parts.next(),
            parts.next(),
            parts.next(),
            parts.next(),
        );
        match (root, ns, namespace, sa, account, parts.next()) {
            (Some(""), Some("ns"), Some(namespace), Some("sa"), Some(account), None) => {
                Self::new(id.trust_domain(), namespace, account)
            }
            _ => Err(IdentityError::Path),
        }
    }
}

impl FromStr for Identity {
    type Err = IdentityError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::try_from(&text.parse::<SpiffeId>().map_err(IdentityError::SpiffeId)?)
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.id.fmt(f)
    }
}

impl From<Identity> for SpiffeId {
    fn from(identity: Identity) -> Self {
        identity.id
    }
}

serde_as_text!(Identity);

/// Why something is not a workload's identity in Istio's form.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// Not a SPIFFE ID at all.
    #[error("the identity is not a SPIFFE ID")]
    SpiffeId(#[source] SpiffeIdError),
    /// A SPIFFE ID of another form.
    #[error("the identity's path is not /ns/NAMESPACE/sa/SERVICE_ACCOUNT")]
    Path,
    /// The namespace cannot stand in a SPIFFE ID.
    #[error("the namespace is not valid in a SPIFFE ID")]
    Namespace(#[source] SpiffeIdError),
    /// The service account cannot stand in a SPIFFE ID.
    #[error("the service account is not valid in a SPIFFE ID")]
    ServiceAccount(#[source] SpiffeIdError),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_the_inverse_of_its_text() {
        let text = "spiffe://cluster.local/ns/foo/sa/bar";
        let identity: Identity = text.parse().unwrap();
        assert_eq!((identity.namespace(), identity.service_account()), ("foo", "bar"));
        assert_eq!(identity.to_string(), text);
    }

    #[test]
    fn refuses_other_paths_and_broken_parts() {
        for text in [
            "spiffe://a/ns/b/sa",
            "spiffe://a/ns/b/sb/c",
            "spiffe://a/ns/b/sa/c/d",
            "spiffe://a/x",
        ] {
            assert_eq!(text.parse::<Identity>(), Err(IdentityError::Path), "{text}");
        }
        let domain = "a".parse().unwrap();
        assert!(matches!(
            Identity::new(&domain, "b/sa/c", "d"),
            Err(IdentityError::Namespace(_))
        ));
        assert!(matches!(
            Identity::new(&domain, "b", ""),
            Err(IdentityError::ServiceAccount(_))
        ));
    }
}
