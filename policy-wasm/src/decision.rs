//! What comes out: a decision, and what each policy said about it.

use std::{fmt, time::Duration};

use sealwright_identity::{Digest, Usage};
use serde::{Deserialize, Serialize};

use crate::Limits;

/// Codes of denials that the host makes itself. No policy can use them, nor any
/// other with the prefix `POLICY_`.
pub mod code {
    /// No policy is in scope.
    pub const NO_POLICY: &str = "NO_POLICY";
    /// The policies allow, but nothing in common.
    pub const NOTHING_ALLOWED: &str = "NOTHING_ALLOWED";
    /// The input has a number that no record can hold.
    pub const INPUT_INVALID: &str = "INPUT_INVALID";
    /// The policy used up its fuel.
    pub const POLICY_FUEL: &str = "POLICY_FUEL";
    /// The policy trapped: a panic, a stack overflow, memory out of bounds.
    pub const POLICY_TRAP: &str = "POLICY_TRAP";
    /// The policy wrote more log than it may.
    pub const POLICY_LOG: &str = "POLICY_LOG";
    /// The policy's answer is malformed or too large.
    pub const POLICY_OUTPUT: &str = "POLICY_OUTPUT";
    /// The policy granted something outside of the ceiling.
    pub const POLICY_WIDENS: &str = "POLICY_WIDENS";
    /// The policy denied with a code that is not one.
    pub const POLICY_DENIED: &str = "POLICY_DENIED";
}

/// One decision, whole: what is needed to act on it and to explain it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The answer.
    pub outcome: Outcome,
    /// What each policy said that was asked, in order. Those after the first
    /// that did not allow were not asked.
    pub evaluations: Vec<Evaluation>,
    /// The canonical input ([`crate::PolicyInput::canonical`]).
    pub input_json: Vec<u8>,
    /// The time of the decision, in seconds since the Unix epoch.
    pub decided_at: i64,
    /// How long a policy thread worked on it; zero when none did. Of interest to operators, no
    /// part of what was decided.
    pub executed: Duration,
}

/// The answer to one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Every policy allows; what is in common of their narrowings.
    Allow(Narrowing),
    /// A policy, or the host in its place, refuses.
    Deny(Denial),
    /// No verdict was reached, for the host's reasons: try again later.
    Aborted {
        /// The policy that was running, if any.
        policy: Option<String>,
        /// Why.
        reason: AbortReason,
    },
}

/// What a policy said about one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evaluation {
    /// The policy's configured name.
    pub name: String,
    /// SHA-256 of the component.
    pub module: Digest,
    /// SHA-256 of the settings' RFC 8785 JSON.
    pub settings: Digest,
    /// The limits that it ran under.
    pub limits: Limits,
    /// Its verdict.
    pub verdict: Verdict,
    /// Fuel used by the call of `decide` alone.
    pub fuel: u64,
    /// With [`Verdict::Allow`]: what it left of the ceiling.
    pub narrowing: Option<Narrowing>,
    /// With [`Verdict::Deny`]: why.
    pub denial: Option<Denial>,
    /// With [`Verdict::Aborted`]: why.
    pub aborted: Option<AbortReason>,
    /// What it logged.
    pub log: Vec<LogLine>,
}

/// A policy's verdict, errors counted as denials.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Allow, perhaps less than the ceiling.
    Allow,
    /// Deny, or an error of the policy.
    Deny,
    /// None.
    Aborted,
}

impl Verdict {
    /// Its word in records: `allow`, `deny`, `aborted`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
            Self::Aborted => "aborted",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What is left of the ceiling. A part that is absent leaves the ceiling's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Narrowing {
    /// An upper bound of the lifetime, in whole seconds.
    pub lifetime: Option<Duration>,
    /// Names, each one of the ceiling's and in its order.
    pub names: Option<Vec<String>>,
    /// Usages, each one of the ceiling's and in its order.
    pub usages: Option<Vec<Usage>>,
}

/// A refusal with its reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Denial {
    /// The policy that refused; empty when there is none.
    pub policy: String,
    /// Upper-case letters, digits and underscores.
    pub code: String,
    /// A sentence for the caller. Single line.
    pub message: String,
    /// The offending part of the input.
    pub field: Option<String>,
    /// What to do about it.
    pub hint: Option<String>,
}

/// Why there is no verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum AbortReason {
    /// The queue of the policy host is full.
    #[error("the queue of the policy host is full")]
    QueueFull,
    /// The request waited longer than its deadline.
    #[error("the decision was not reached within the deadline")]
    Deadline,
    /// Every instance slot is in use.
    #[error("every policy instance is in use")]
    PoolFull,
    /// The epoch backstop was hit before the fuel was used up.
    #[error("the policy ran longer than the epoch deadline")]
    Epoch,
    /// The system gave no memory.
    #[error("the system has no memory for the policy")]
    Memory,
    /// The instance could not be made, though it could when the policy was loaded.
    #[error("the policy could not be instantiated")]
    Instantiation,
    /// The policy host is stopping, or a worker of it failed.
    #[error("the policy host is stopping")]
    Stopped,
}

impl AbortReason {
    /// Its word in metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::QueueFull => "queue_full",
            Self::Deadline => "deadline",
            Self::PoolFull => "pool_full",
            Self::Epoch => "epoch",
            Self::Memory => "memory",
            Self::Instantiation => "instantiation",
            Self::Stopped => "stopped",
        }
    }
}

/// One line that a policy logged. Single line, no control characters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// How much it matters.
    pub level: LogLevel,
    /// The text.
    pub message: String,
}

/// How much a log line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the names say it")]
pub enum LogLevel {
    Debug,
    Info,
    Warn,
    Error,
}

/// Text of a policy as it may appear in logs, records and answers: one line,
/// in the order in which it is read, at most `max` bytes.
pub(crate) fn tame(text: &str, max: usize) -> String {
    let mut tamed = String::with_capacity(text.len().min(max));
    for char in text.chars() {
        let char = if deceives(char) { ' ' } else { char };
        if tamed.len() + char.len_utf8() > max {
            break;
        }
        tamed.push(char);
    }
    tamed
}

/// Controls, separators of lines and paragraphs, and marks that turn the
/// direction of what follows, so that a person reads something else.
fn deceives(char: char) -> bool {
    char.is_control()
        || matches!(char, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tames_text() {
        assert_eq!(tame("a\u{202e}b\u{2028}c\u{feff}\u{2069}", 64), "a b c  ");
        assert_eq!(tame("a\nb\u{1b}[31m\u{85}é", 64), "a b [31m é");
        assert_eq!(tame("aéé", 4), "aé");
    }
}
