//! One line of a check.

use serde::{Deserialize, Serialize};

use crate::failure::Class;

/// How it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum State {
    /// As it must be.
    Good,
    /// A start works, but somebody should know.
    Warning,
    /// A running signer has it.
    Held,
    /// A start does not work.
    Failed,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Item {
    pub(super) check: String,
    pub(super) state: State,
    pub(super) found: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) fix: Option<String>,
    /// The exit code if it is the worst.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(super) class: u8,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_zero(class: &u8) -> bool {
    *class == 0
}

impl Item {
    fn new(check: &str, state: State, found: impl ToString, fix: Option<String>, class: u8) -> Self {
        Self {
            check: check.to_owned(),
            state,
            found: found.to_string(),
            fix,
            class,
        }
    }

    pub(super) fn good(check: &str, found: impl ToString) -> Self {
        Self::new(check, State::Good, found, None, 0)
    }

    pub(super) fn held(check: &str, found: impl ToString) -> Self {
        Self::new(check, State::Held, found, None, 0)
    }

    pub(super) fn warning(check: &str, found: impl ToString, fix: &str) -> Self {
        Self::new(check, State::Warning, found, Some(fix.to_owned()), 0)
    }

    pub(super) fn failed(check: &str, found: impl ToString, fix: &str) -> Self {
        Self::new(
            check,
            State::Failed,
            found,
            Some(fix.to_owned()),
            Class::Usage.code(),
        )
    }

    /// A failure of state: a PIN that was refused, a home that is held.
    pub(super) fn refused(check: &str, found: impl ToString, fix: &str) -> Self {
        Self::new(
            check,
            State::Failed,
            found,
            Some(fix.to_owned()),
            Class::State.code(),
        )
    }

    pub(super) fn cells(&self) -> Vec<String> {
        let tick = match self.state {
            State::Good => "✓",
            State::Held => "·",
            State::Warning => "!",
            State::Failed => "✗",
        };
        vec![
            tick.to_owned(),
            self.check.clone(),
            self.found.clone(),
            self.fix.clone().unwrap_or_default(),
        ]
    }
}
