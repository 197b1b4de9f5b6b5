//! Validity periods.

use std::time::Duration;

use crate::Timestamp;

/// From not-before to not-after, both inclusive, at whole seconds (RFC 5280, section 4.1.2.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Validity {
    not_before: Timestamp,
    not_after: Timestamp,
}

impl Validity {
    /// A period; fractions of seconds are cut off, as a certificate cannot hold them.
    ///
    /// # Errors
    /// When it would not end after it begins.
    pub fn new(not_before: Timestamp, not_after: Timestamp) -> Result<Self, ValidityError> {
        let (not_before, not_after) = (
            not_before.truncated_to_seconds(),
            not_after.truncated_to_seconds(),
        );
        if not_after <= not_before {
            return Err(ValidityError {
                not_before,
                not_after,
            });
        }
        Ok(Self {
            not_before,
            not_after,
        })
    }

    /// The first moment.
    #[must_use]
    pub fn not_before(&self) -> Timestamp {
        self.not_before
    }

    /// The last moment.
    #[must_use]
    pub fn not_after(&self) -> Timestamp {
        self.not_after
    }

    /// How long the period is.
    #[must_use]
    pub fn duration(&self) -> Duration {
        self.not_after.saturating_since(self.not_before)
    }

    /// Whether a moment lies inside.
    #[must_use]
    pub fn contains(&self, at: Timestamp) -> bool {
        self.not_before <= at && at <= self.not_after
    }
}

/// A period that would end before it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a validity from {not_before} to {not_after} is empty")]
pub struct ValidityError {
    /// Where it would begin.
    pub not_before: Timestamp,
    /// Where it would end.
    pub not_after: Timestamp,
}
