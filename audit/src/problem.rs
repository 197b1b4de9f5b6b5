//! What a replay finds, each with a stable word for programs.

use std::fmt;

use serde::Serialize;

/// Something in a record that what was computed again contradicts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The entry.
    pub sequence: u64,
    /// What.
    pub problem: Problem,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "entry {}: {}", self.sequence, self.problem)
    }
}

impl Serialize for Finding {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct as _;
        let mut object = serializer.serialize_struct("Finding", 3)?;
        object.serialize_field("sequence", &self.sequence)?;
        object.serialize_field("code", self.problem.code())?;
        object.serialize_field("problem", &self.problem.to_string())?;
        object.end()
    }
}

/// What can contradict a record.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// The evidence of a decision cannot be read.
    #[error("its evidence cannot be read: {0}")]
    Evidence(String),
    /// The export has no bytes for a digest.
    #[error("the export does not hold the {what} {digest}")]
    Absent {
        /// What it would be.
        what: &'static str,
        /// Its digest, as recorded.
        digest: String,
    },
    /// Module, settings or limits make no policy.
    #[error("policy {policy} cannot be loaded: {reason}")]
    Policy {
        /// Its name.
        policy: String,
        /// Why not.
        reason: String,
    },
    /// The record lists other policies than its evidence, or than were in force.
    #[error("the policies {found} were asked where {expected} were due")]
    Policies {
        /// What was due.
        expected: String,
        /// What the record has.
        found: String,
    },
    /// A canary that its bounds should have stopped.
    #[error("{0}")]
    Stop(String),
    /// A policy entry says that something took effect which could not have.
    #[error("what it says took effect could not have: {0}")]
    Change(String),
    /// Where the issuer's key comes from does not show.
    #[error("where the issuer's key comes from does not show: {0}")]
    Ceremony(String),
    /// The record is not of the policy set that was in force.
    #[error("it is not a record of the policy set in force: {0}")]
    Set(String),
    /// The policy says something else.
    #[error("policy {policy}: the verdict is {replayed}, and {recorded} was recorded")]
    Verdict {
        /// Its name.
        policy: String,
        /// As recorded.
        recorded: String,
        /// As executed again.
        replayed: String,
    },
    /// The policy leaves something else.
    #[error("policy {policy}: the narrowing is {replayed}, and {recorded} was recorded")]
    Narrowing {
        /// Its name, or "the grant".
        policy: String,
        /// As recorded.
        recorded: String,
        /// As executed again.
        replayed: String,
    },
    /// The policy's denial is another, or its log.
    #[error("policy {policy}: {what} differs: {replayed}, and {recorded} was recorded")]
    Answer {
        /// Its name.
        policy: String,
        /// Which part.
        what: &'static str,
        /// As recorded.
        recorded: String,
        /// As executed again.
        replayed: String,
    },
    /// The policy takes another amount of fuel under the same engine profile.
    #[error("policy {policy}: it takes {replayed} fuel, and {recorded} was recorded")]
    Fuel {
        /// Its name.
        policy: String,
        /// As recorded.
        recorded: u64,
        /// As executed again.
        replayed: u64,
    },
    /// What became of the request does not follow from the verdicts.
    #[error("what became of it does not follow from the verdicts: {0}")]
    Outcome(String),
    /// A part of the record is not what the other parts give.
    #[error("{what} is {recorded}, and should be {expected}")]
    Disagrees {
        /// Which part.
        what: &'static str,
        /// As recorded.
        recorded: String,
        /// As computed.
        expected: String,
    },
    /// The certificate signing request cannot be read, or is not its key's.
    #[error("its certificate signing request is not sound: {0}")]
    Csr(String),
    /// The bytes to be signed are not those that the grant gives.
    #[error("the certificate is not what was granted: {0}")]
    Tbs(String),
    /// The issuer's certificate does not lead to a trust anchor.
    #[error("the issuer does not lead to a trust anchor: {0}")]
    Issuer(String),
    /// The certificate is not signed by its issuer.
    #[error("the certificate's signature is not its issuer's: {0}")]
    Signature(String),
}

impl Problem {
    /// A stable word.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Evidence(_) => "evidence",
            Self::Absent { .. } => "absent",
            Self::Policy { .. } => "policy",
            Self::Policies { .. } => "policies",
            Self::Change(_) => "change",
            Self::Ceremony(_) => "ceremony",
            Self::Set(_) => "set",
            Self::Stop(_) => "stop",
            Self::Verdict { .. } => "verdict",
            Self::Narrowing { .. } => "narrowing",
            Self::Answer { .. } => "answer",
            Self::Fuel { .. } => "fuel",
            Self::Outcome(_) => "outcome",
            Self::Disagrees { .. } => "disagrees",
            Self::Csr(_) => "csr",
            Self::Tbs(_) => "tbs",
            Self::Issuer(_) => "issuer",
            Self::Signature(_) => "signature",
        }
    }
}

/// What this program cannot compare, for reasons that are nobody's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Uncompared {
    /// Fuel, under another engine profile.
    Fuel,
    /// A policy that ran out of fuel or trapped under another engine profile, where it may not.
    Verdict,
    /// The certificate's bytes, which another builder made.
    Tbs,
    /// A decision that this machine aborted.
    Execution,
    /// A certificate of a decision before the part.
    Certificate,
    /// A denial that was too large for a record.
    Cut,
    /// The transcript of a ceremony that another release ran: its program was not run again.
    Transcript,
    /// What a canary of a set from before the part came to.
    Stop,
}

impl Uncompared {
    /// Whether a replay with it is as good as one without.
    #[must_use]
    pub fn is_expected(self) -> bool {
        matches!(self, Self::Fuel | Self::Certificate | Self::Cut | Self::Stop)
    }

    /// Its word, as in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fuel => "fuel",
            Self::Verdict => "verdict",
            Self::Tbs => "tbs",
            Self::Execution => "execution",
            Self::Certificate => "certificate",
            Self::Cut => "cut",
            Self::Transcript => "transcript",
            Self::Stop => "stop",
        }
    }
}

/// Text from an export as it may be shown: one line of readable characters, not too long.
pub(crate) fn shown(text: &str) -> String {
    const MOST: usize = 200;
    let mut shown: String = text
        .chars()
        .take(MOST)
        .map(|char| {
            if char.is_control() || is_mark(char) {
                ' '
            } else {
                char
            }
        })
        .collect();
    if text.chars().nth(MOST).is_some() {
        shown.push('…');
    }
    shown
}

/// Marks that turn the direction of what follows.
fn is_mark(char: char) -> bool {
    matches!(char, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}
