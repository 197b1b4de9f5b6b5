//! The end of a transcript, as the operators sign it.

use sealwright_identity::Digest;
use serde::{Deserialize, Serialize};

use crate::canonical::statement;
use crate::id::CeremonyId;

/// How a ceremony ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// Everything in the plan was done.
    Finished,
    /// The people in the room stopped it.
    Aborted,
    /// It went wrong, and is not tried again.
    Failed,
}

impl Outcome {
    /// The word in files.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Finished => "finished",
            Self::Aborted => "aborted",
            Self::Failed => "failed",
        }
    }
}

/// "I was there, and this is how it went." A statement of the type `ceremony-head`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Head {
    /// The ceremony.
    pub ceremony: CeremonyId,
    /// Whether it was a rehearsal.
    pub rehearsal: bool,
    /// The plan's digest.
    pub plan: Digest,
    /// The roster's digest.
    pub roster: Digest,
    /// How it ended.
    pub outcome: Outcome,
    /// How many events there are.
    pub events: u64,
    /// The digest of the last one.
    pub head: Digest,
}

statement!(Head, "ceremony-head");

impl Head {
    pub(crate) fn problem(&self) -> Option<(&'static str, String)> {
        (self.events == 0).then(|| ("events", "there are none".to_owned()))
    }
}
