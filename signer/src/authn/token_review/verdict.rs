//! What an API server's answer proves.
//!
//! `authenticated: true` alone proves nothing: the token `" "` is answered so, for the user
//! `system:anonymous`, with the audience echoed. Counted is only an answer that names a service
//! account, the very one that the token names, in the groups that every service account is in,
//! for an audience of ours, bound to the same pod.

use std::collections::BTreeMap;

use k8s_openapi::api::authentication::v1::{TokenReviewStatus, UserInfo};
use sealwright_jwt::{Unverified, service_account};

use crate::authn::caller::{KubernetesFacts, ObjectRef};

const GROUP: &str = "system:serviceaccounts";
const POD_NAME: &str = "authentication.kubernetes.io/pod-name";
const POD_UID: &str = "authentication.kubernetes.io/pod-uid";
const NODE_NAME: &str = "authentication.kubernetes.io/node-name";
const NODE_UID: &str = "authentication.kubernetes.io/node-uid";

/// Why an answer does not vouch for the caller.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The API server says what is wrong with the token.
    #[error("the API server refused the token: {text}")]
    Refused {
        /// Its words.
        text: Unverified,
    },
    /// It says neither yes nor why not.
    #[error("the API server did not authenticate the token")]
    NotAuthenticated,
    /// It did not look at the audience, or found another.
    #[error("the API server does not say that the token is for an audience of ours")]
    Audience,
    /// The user is no service account.
    #[error("the API server took the token for {user}, which is no service account")]
    NotServiceAccount {
        /// The user's name.
        user: Unverified,
    },
    /// A service account is in these groups.
    #[error("the API server's answer lacks the group {group:?}")]
    Group {
        /// The missing one.
        group: String,
    },
    /// The token says something else than the API server.
    #[error("the API server says {what} {found}, the token says {claimed}")]
    Contradiction {
        /// What is spoken of.
        what: &'static str,
        /// In the answer.
        found: Unverified,
        /// In the token.
        claimed: Unverified,
    },
}

/// Holds an answer against the token's own claims.
pub(super) fn judge(
    status: TokenReviewStatus,
    claimed: KubernetesFacts,
    audiences: &[String],
) -> Result<KubernetesFacts, Error> {
    if let Some(text) = status.error.filter(|text| !text.is_empty()) {
        let text = Unverified::new(&text);
        return Err(Error::Refused { text });
    }
    if status.authenticated != Some(true) {
        return Err(Error::NotAuthenticated);
    }
    let user = status.user.unwrap_or_default();
    let name = user.username.as_deref().unwrap_or_default();
    let (namespace, account) = service_account(name).map_err(|_other| Error::NotServiceAccount {
        user: Unverified::new(name),
    })?;
    let echoed = status.audiences.unwrap_or_default();
    if !echoed.iter().any(|audience| audiences.contains(audience)) {
        return Err(Error::Audience);
    }
    let groups = user.groups.as_deref().unwrap_or_default();
    for group in [GROUP.to_owned(), format!("{GROUP}:{namespace}")] {
        if !groups.contains(&group) {
            return Err(Error::Group { group });
        }
    }
    agree("namespace", Some(namespace), Some(&claimed.namespace))?;
    agree("service account", Some(account), Some(&claimed.service_account))?;
    agree(
        "service account uid",
        user.uid.as_deref(),
        claimed.service_account_uid.as_deref(),
    )?;
    let node = node(&user, &claimed)?;
    let pod = claimed.pod.as_ref();
    agree("pod", extra(&user, POD_NAME), pod.map(|pod| pod.name.as_str()))?;
    agree(
        "pod uid",
        extra(&user, POD_UID),
        pod.and_then(|pod| pod.uid.as_deref()),
    )?;
    Ok(KubernetesFacts { node, ..claimed })
}

/// API servers before 1.32 may leave the node out; then nobody has vouched for it.
fn node(user: &UserInfo, claimed: &KubernetesFacts) -> Result<Option<ObjectRef>, Error> {
    let Some(name) = extra(user, NODE_NAME) else {
        return Ok(None);
    };
    let node = claimed.node.as_ref();
    agree("node", Some(name), node.map(|node| node.name.as_str()))?;
    agree(
        "node uid",
        extra(user, NODE_UID),
        node.and_then(|node| node.uid.as_deref()),
    )?;
    Ok(claimed.node.clone())
}

fn agree(what: &'static str, found: Option<&str>, claimed: Option<&str>) -> Result<(), Error> {
    if found == claimed {
        return Ok(());
    }
    Err(Error::Contradiction {
        what,
        found: Unverified::new(found.unwrap_or_default()),
        claimed: Unverified::new(claimed.unwrap_or_default()),
    })
}

/// The one value of an extra. Several are as good as a wrong one.
fn extra<'a>(user: &'a UserInfo, key: &str) -> Option<&'a str> {
    let values = user
        .extra
        .as_ref()
        .and_then(|extra: &BTreeMap<_, _>| extra.get(key))?;
    match values.as_slice() {
        [value] => Some(value),
        [] => None,
        _ => Some(""),
    }
}
