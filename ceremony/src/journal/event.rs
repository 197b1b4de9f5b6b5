//! One event: a line of the journal.

use sealwright_identity::{Digest, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::file::JournalError;
use crate::error::Error;

/// What kind of event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Follows from what is known.
    Fact,
    /// Was seen.
    Observation,
    /// Is about to be done.
    Intent,
    /// Was done, with this answer.
    Result,
    /// Was tried and failed.
    Failure,
    /// The head at this place.
    Checkpoint,
    /// Somebody in the room had something to say.
    Note,
}

/// One event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Event {
    /// Counts from 0.
    pub sequence: u64,
    /// The digest of the event before; of the plan, for the first.
    pub previous: Digest,
    /// By the machine's clock.
    pub time: Timestamp,
    /// What kind.
    pub kind: Kind,
    /// The step that it belongs to.
    pub step: String,
    /// The call, or the name of the fact.
    pub call: String,
    /// What there is to say.
    pub data: Value,
}

impl Event {
    /// The line, without its end (RFC 8785).
    pub(super) fn line(&self) -> Result<String, JournalError> {
        serde_json_canonicalizer::to_string(self).map_err(|source| JournalError::Data {
            sequence: self.sequence,
            source,
        })
    }

    /// The name of the event whose line this is.
    pub(super) fn digest(line: &str) -> Digest {
        Digest::of(&[b"sealwright/ceremony-event/v1\0", line.as_bytes()].concat())
    }
}

/// What somebody in the room had to say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Note {
    /// `exception`, `photograph`, `enters`, `leaves` or `remark`.
    pub subject: Subject,
    /// In words.
    pub text: String,
    /// The digest of a file that is kept elsewhere, such as a photograph.
    #[serde(default)]
    pub file: Option<Digest>,
}

/// What a note is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Subject {
    /// Something was not as the script says.
    Exception,
    /// A photograph was taken.
    Photograph,
    /// Somebody came into the room.
    Enters,
    /// Somebody left it.
    Leaves,
    /// Anything else.
    Remark,
}

/// A call that failed.
#[derive(Debug, Serialize)]
pub(super) struct Failed {
    error: String,
    return_value: Option<&'static str>,
}

impl Failed {
    pub(super) fn of(error: &Error) -> Self {
        let return_value = match error {
            Error::Token { source, .. } => source.return_value(),
            _ => None,
        };
        let mut text = error.to_string();
        let mut source = std::error::Error::source(error);
        while let Some(inner) = source {
            text.push_str(": ");
            text.push_str(&inner.to_string());
            source = inner.source();
        }
        Self {
            error: text,
            return_value,
        }
    }
}
