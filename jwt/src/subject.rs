//! From a verified token's subject to an identity.
//!
//! The Kubernetes form is `system:serviceaccount:NAMESPACE:NAME`, four parts, no more and
//! no fewer, each a name that Kubernetes itself would accept. A token that carries the
//! claim `kubernetes.io` has to say the same there: the API server takes the identity from
//! that claim and not from `sub`, so a token in which they differ means two things.

use sealwright_identity::{Identity, IdentityError};
use serde::{Deserialize, Serialize};

use crate::claims::Claims;
use crate::trust::{self, Recognized, Trust};
use crate::{KubernetesFacts, ObjectRef, Unverified};

/// How a token's `sub` becomes an identity.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SubjectForm {
    /// `system:serviceaccount:NAMESPACE:NAME`.
    #[default]
    Kubernetes,
    /// A SPIFFE ID of the trust domain or an alias, as in a JWT-SVID.
    Spiffe,
}

/// Why a subject is no identity.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no subject.
    #[error("claim \"sub\" is missing")]
    Missing,
    /// The subject is not of a service account.
    #[error("subject {sub} is not system:serviceaccount:NAMESPACE:NAME")]
    NotServiceAccount {
        /// The subject.
        sub: Unverified,
    },
    /// The names are good for Kubernetes, yet make no identity.
    #[error("subject {sub} makes no identity")]
    Identity {
        /// The subject.
        sub: Unverified,
        /// What is wrong.
        #[source]
        source: IdentityError,
    },
    /// The `kubernetes.io` claim leaves out, or contradicts, what the subject says.
    #[error("claim \"kubernetes.io\" has {what} {found}, the subject says {sub}")]
    Contradiction {
        /// Namespace or service account.
        what: &'static str,
        /// What the claim has.
        found: Unverified,
        /// The subject.
        sub: Unverified,
    },
    /// A pod, node or service account is described in a way the API server never does.
    #[error("claim \"kubernetes.io\" has an unusable {what}")]
    Object {
        /// Which one.
        what: &'static str,
    },
    /// The subject is not a SPIFFE ID of ours.
    #[error("subject {sub} is no identity of ours")]
    Spiffe {
        /// The subject.
        sub: Unverified,
        /// What is wrong.
        #[source]
        source: trust::Error,
    },
}

/// The claim `kubernetes.io` of a service account token.
#[derive(Debug, Deserialize)]
pub(crate) struct KubernetesClaim {
    namespace: Option<String>,
    serviceaccount: Option<ObjectClaim>,
    pod: Option<ObjectClaim>,
    node: Option<ObjectClaim>,
}

#[derive(Debug, Deserialize)]
struct ObjectClaim {
    name: String,
    uid: Option<String>,
}

/// Finds the identity, and for service account tokens the workload.
///
/// # Errors
/// When the subject is no identity of ours, or contradicts the other claims.
pub fn map(
    form: SubjectForm,
    claims: &Claims,
    trust: &Trust,
) -> Result<(Recognized, Option<KubernetesFacts>), Error> {
    let sub = claims.sub.as_deref().ok_or(Error::Missing)?;
    match form {
        SubjectForm::Kubernetes => {
            let (namespace, account) = service_account(sub)?;
            let facts = facts(sub, namespace, account, claims.kubernetes.as_ref())?;
            let identity = Identity::new(&trust.domain, namespace, account).map_err(|source| {
                let sub = Unverified::new(sub);
                Error::Identity { sub, source }
            })?;
            let recognized = Recognized {
                identity: identity.into(),
                presented: None,
            };
            Ok((recognized, Some(facts)))
        }
        SubjectForm::Spiffe => {
            let recognized = trust.recognize(sub).map_err(|source| {
                let sub = Unverified::new(sub);
                Error::Spiffe { sub, source }
            })?;
            Ok((recognized, None))
        }
    }
}

/// Namespace and name out of `system:serviceaccount:NAMESPACE:NAME`.
///
/// # Errors
/// When the text has another form.
pub fn service_account(sub: &str) -> Result<(&str, &str), Error> {
    let mut parts = sub.split(':');
    let parts = (
        parts.next(),
        parts.next(),
        parts.next(),
        parts.next(),
        parts.next(),
    );
    match parts {
        (Some("system"), Some("serviceaccount"), Some(namespace), Some(account), None)
            if is_dns_label(namespace) && is_dns_subdomain(account) =>
        {
            Ok((namespace, account))
        }
        _ => Err(Error::NotServiceAccount {
            sub: Unverified::new(sub),
        }),
    }
}

fn facts(
    sub: &str,
    namespace: &str,
    account: &str,
    claim: Option<&KubernetesClaim>,
) -> Result<KubernetesFacts, Error> {
    let mut facts = KubernetesFacts {
        namespace: namespace.to_owned(),
        service_account: account.to_owned(),
        service_account_uid: None,
        pod: None,
        node: None,
    };
    let Some(claim) = claim else {
        return Ok(facts);
    };
    let agree = |what, found: Option<&str>, expected: &str| match found {
        Some(found) if found == expected => Ok(()),
        found => Err(Error::Contradiction {
            what,
            found: Unverified::new(found.unwrap_or_default()),
            sub: Unverified::new(sub),
        }),
    };
    agree("namespace", claim.namespace.as_deref(), namespace)?;
    let claimed = claim.serviceaccount.as_ref();
    agree(
        "service account",
        claimed.map(|object| object.name.as_str()),
        account,
    )?;
    facts.service_account_uid = object(claimed, "service account")?.and_then(|object| object.uid);
    facts.pod = object(claim.pod.as_ref(), "pod")?;
    facts.node = object(claim.node.as_ref(), "node")?;
    if facts.pod.as_ref().is_some_and(|pod| pod.uid.is_none()) {
        return Err(Error::Object { what: "pod" });
    }
    Ok(facts)
}

fn object(claim: Option<&ObjectClaim>, what: &'static str) -> Result<Option<ObjectRef>, Error> {
    let Some(claim) = claim else {
        return Ok(None);
    };
    if !is_dns_subdomain(&claim.name) || !claim.uid.as_deref().is_none_or(is_uid) {
        return Err(Error::Object { what });
    }
    Ok(Some(ObjectRef {
        name: claim.name.clone(),
        uid: claim.uid.clone(),
    }))
}

/// RFC 1123 as Kubernetes reads it: lower case, at most 63.
#[must_use]
pub fn is_dns_label(text: &str) -> bool {
    let inside = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    text.len() <= 63
        && !text.is_empty()
        && !text.starts_with('-')
        && !text.ends_with('-')
        && text.bytes().all(inside)
}

/// Labels with dots between them, at most 253. Names of accounts, pods and nodes.
#[must_use]
pub fn is_dns_subdomain(text: &str) -> bool {
    text.len() <= 253 && text.split('.').all(is_dns_label)
}

/// Kubernetes promises no form beyond uniqueness; it writes UUIDs.
fn is_uid(text: &str) -> bool {
    let inside = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    !text.is_empty() && text.len() <= 64 && text.bytes().all(inside)
}
