//! What can be wrong with an armoured file.

use sealwright_identity::Digest;

use super::{MAX_ARMOUR_BYTES, MAX_SIGNATURES};
use crate::key::KeyError;
use crate::statement::StatementError;

/// Why a text is not an armoured statement, or not the one that was wanted. Lines count from 1.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    /// Larger than [`MAX_ARMOUR_BYTES`].
    #[error("a statement's file has at most {MAX_ARMOUR_BYTES} bytes, this one has {0}")]
    TooLarge(usize),
    /// Another line than the form has there.
    #[error("line {line} should be {wanted:?}")]
    Line {
        /// Which line.
        line: usize,
        /// What belongs there.
        wanted: String,
    },
    /// The file ends too early.
    #[error("the file ends before {0:?}")]
    CutOff(String),
    /// Something that is not base64.
    #[error("what ends on line {0} is not base64")]
    Base64(usize),
    /// The digest is not the statement's: the file was damaged, or changed.
    #[error("the file says its digest is {said}, but that of what it holds is {found}")]
    Digest {
        /// What the file says.
        said: String,
        /// What it holds.
        found: Digest,
    },
    /// A signature's key is none, or not the one that is named.
    #[error("the key of the signature that ends on line {line} is not one")]
    Key {
        /// Which line.
        line: usize,
        /// Why.
        #[source]
        source: KeyError,
    },
    /// Two signatures of one key.
    #[error("the key {0} signed twice; take one of the signatures out")]
    Twice(Digest),
    /// More than [`MAX_SIGNATURES`].
    #[error("a statement has at most {MAX_SIGNATURES} signatures")]
    TooMany,
    /// Another spelling of a file that would be right.
    #[error("line {line} should read {wanted:?}")]
    Spelling {
        /// The first line that differs.
        line: usize,
        /// How it is written.
        wanted: String,
    },
    /// A statement of another type.
    #[error("the file holds a {found}, not a {wanted}")]
    Type {
        /// The type that was wanted.
        wanted: &'static str,
        /// The type that is there.
        found: String,
    },
    /// The statement itself.
    #[error("the statement in the file does not hold")]
    Statement(#[source] StatementError),
}
