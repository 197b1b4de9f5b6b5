//! What a plan says of a token that only people's hands can do.

use serde::{Deserialize, Serialize};

/// Where the PINs of a token are given.
///
/// The default is left out of the plan's canonical form, so that plans from before there was a choice keep their digest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PinEntry {
    /// To this program: at its prompt, by a file or a descriptor.
    #[default]
    Typed,
    /// At the token's own pad (`CKF_PROTECTED_AUTHENTICATION_PATH`): this program never has them.
    Pad,
}

impl PinEntry {
    /// Whether they are given to this program.
    #[must_use]
    pub const fn is_typed(&self) -> bool {
        matches!(self, Self::Typed)
    }
}

/// A quorum of the token's own, such as the cards of an operator card set, that must open it before anybody can log in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HsmQuorum {
    /// How many people it takes, as the token was set up.
    pub threshold: u64,
    /// What they do, in words.
    pub instruction: String,
}
