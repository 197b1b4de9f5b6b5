//! Verdicts, written shortly.

use crate::{Denial, Narrowing, Usage, Verdict};

/// Allows everything that the ceiling allows.
pub fn allow() -> Verdict {
    narrow().into()
}

/// Allows less than the ceiling: `narrow().lifetime_seconds(3600).into()`.
pub fn narrow() -> Narrow {
    Narrow(Narrowing {
        lifetime_seconds: None,
        names: None,
        usages: None,
    })
}

/// Denies: `deny("WRONG_NODE", "…").field("caller.kubernetes.node_name").into()`.
///
/// `code` has upper-case letters, digits and underscores, at most 64.
pub fn deny(code: impl Into<String>, message: impl Into<String>) -> Deny {
    Deny(Denial {
        code: code.into(),
        message: message.into(),
        field: None,
        hint: None,
    })
}

/// An allowance in the making; [`Into`] makes it a [`Verdict`].
#[must_use]
pub struct Narrow(Narrowing);

impl Narrow {
    /// The longest lifetime that this policy allows.
    pub fn lifetime_seconds(mut self, seconds: u64) -> Self {
        self.0.lifetime_seconds = Some(seconds);
        self
    }

    /// The names that this policy allows, chosen from `ceiling.names`.
    pub fn names(mut self, names: Vec<String>) -> Self {
        self.0.names = Some(names);
        self
    }

    /// The usages that this policy allows, chosen from `ceiling.usages`.
    pub fn usages(mut self, usages: Vec<Usage>) -> Self {
        self.0.usages = Some(usages);
        self
    }
}

impl From<Narrow> for Verdict {
    fn from(narrow: Narrow) -> Self {
        Self::Allow(narrow.0)
    }
}

/// A refusal in the making; [`Into`] makes it a [`Verdict`].
#[must_use]
pub struct Deny(Denial);

impl Deny {
    /// The path of the offending part of the input, such as `csr.key_type`.
    pub fn field(mut self, field: impl Into<String>) -> Self {
        self.0.field = Some(field.into());
        self
    }

    /// What to do about it.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }
}

impl From<Deny> for Verdict {
    fn from(deny: Deny) -> Self {
        Self::Deny(deny.0)
    }
}
