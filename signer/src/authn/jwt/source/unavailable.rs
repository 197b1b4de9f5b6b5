//! What is said when there are no keys.

use std::sync::Arc;

use sealwright_identity::Timestamp;

use crate::authn::jwt::fetch;

/// There are no keys to judge a token with.
#[derive(Debug, thiserror::Error)]
pub enum Unavailable {
    /// No key set was ever fetched.
    #[error("no key set was fetched yet")]
    Never(#[source] Option<Arc<fetch::Error>>),
    /// The last key set is too old to be relied on.
    #[error("the last key set is of {fetched_at}, beyond max_stale")]
    Stale {
        /// When it was fetched.
        fetched_at: Timestamp,
        /// Why there is no newer one.
        #[source]
        source: Option<Arc<fetch::Error>>,
    },
}
