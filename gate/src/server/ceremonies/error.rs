//! Why a key has no trail, and why nobody can tell.

use std::path::PathBuf;
use std::sync::Arc;

use sealwright_ceremony::Error as CeremonyError;
use sealwright_identity::Digest;
use sealwright_ledger::{Error as LedgerError, ReadError};

/// Why an issuer does not sign: which key of the configuration, and what to do.
#[derive(Clone, Debug, thiserror::Error)]
pub(in crate::server) enum NoTrail {
    /// Nothing is named.
    #[error(
        "issuers.{issuer}.ceremony: there is none, and the ledger has no record of a ceremony of the key {key}; name the \
         folder of the transcript, or write ceremony = \"none\" where the key comes from elsewhere, which every start \
         will say"
    )]
    Missing {
        /// The issuer.
        issuer: String,
        /// Its key.
        key: Digest,
    },
    /// The transcript does not verify.
    #[error(
        "issuers.{issuer}.ceremony: the transcript {} does not hold; put the whole folder there as the ceremony left it",
        folder.display()
    )]
    DoesNotHold {
        /// The issuer.
        issuer: String,
        /// The folder.
        folder: PathBuf,
        /// Why.
        #[source]
        source: Arc<CeremonyError>,
    },
    /// Nobody is vouched for.
    #[error(
        "ceremonies.rosters: there is none, so anybody could have made the transcript {}; write the digest of the \
         ceremony's roster, from its paper",
        folder.display()
    )]
    NoRoster {
        /// The folder.
        folder: PathBuf,
    },
    /// Other people.
    #[error(
        "ceremonies.rosters: the transcript {} of issuer {issuer} is by the roster {found}, which is not there; name the \
         transcript of your own ceremony, or add the digest if it stands on the paper",
        folder.display()
    )]
    Roster {
        /// The issuer.
        issuer: String,
        /// The folder.
        folder: PathBuf,
        /// The transcript's roster.
        found: Digest,
    },
    /// It was given up.
    #[error(
        "issuers.{issuer}.ceremony: by the transcript {} the ceremony was {outcome}; name one that was finished",
        folder.display()
    )]
    GivenUp {
        /// The issuer.
        issuer: String,
        /// The folder.
        folder: PathBuf,
        /// How it ended.
        outcome: &'static str,
    },
    /// Practice.
    #[error(
        "issuers.{issuer}.ceremony: {} is the transcript of a rehearsal; name that of the ceremony in earnest, or write \
         rehearsal = true in every [[issuers]] of an installation that nobody relies on",
        folder.display()
    )]
    Rehearsal {
        /// The issuer.
        issuer: String,
        /// The folder.
        folder: PathBuf,
    },
    /// Of another key.
    #[error(
        "issuers.{issuer}.ceremony: the transcript {} has no certificate for the key {key} of issuers.{issuer}.chain; \
         name the transcript of that key's ceremony",
        folder.display()
    )]
    OtherKey {
        /// The issuer.
        issuer: String,
        /// The folder.
        folder: PathBuf,
        /// The issuer's key.
        key: Digest,
    },
    /// Of another chain.
    #[error(
        "issuers.{issuer}.chain: it is not the chain that the transcript {} has for this key; use the transcript's \
         chains/{certificate}.pem and trust-bundle.pem",
        folder.display()
    )]
    OtherChain {
        /// The issuer.
        issuer: String,
        /// The folder.
        folder: PathBuf,
        /// The step that made the certificate.
        certificate: String,
    },
    /// It names other people than another key's.
    #[error(
        "issuers.{issuer}.ceremony: by the transcript {} the first approver roster is {found}, and the ceremony of \
         another issuer's key has {people}: one gate has one; use a key of a ceremony that agrees",
        folder.display()
    )]
    Approvers {
        /// The issuer.
        issuer: String,
        /// The folder.
        folder: PathBuf,
        /// The transcript's.
        found: Digest,
        /// The other's.
        people: Digest,
    },
    /// The ledger's record is not one.
    #[error(
        "the ledger's record of the ceremony of the key {key} (entry {sequence}) does not hold: {problem}; run \
         `sealwright log verify`, and bring back an undamaged copy"
    )]
    Recorded {
        /// The key.
        key: Digest,
        /// The entry.
        sequence: u64,
        /// What is wrong.
        problem: String,
    },
    /// The ledger's record is by other people than the configuration says.
    #[error(
        "ceremonies.rosters: entry {sequence} has the ceremony of issuer {issuer} by the roster {found}, which is not \
         there; the record counts: add the digest if it stands on the paper, or take the key out"
    )]
    RecordedRoster {
        /// The issuer.
        issuer: String,
        /// The entry.
        sequence: u64,
        /// Its roster.
        found: Digest,
    },
    /// The ledger's record is of practice.
    #[error(
        "issuers.{issuer}.rehearsal: entry {sequence} has the ceremony of its key as a rehearsal; use a key of a ceremony \
         in earnest, or write rehearsal = true in every [[issuers]] of an installation that nobody relies on"
    )]
    RecordedRehearsal {
        /// The issuer.
        issuer: String,
        /// The entry.
        sequence: u64,
    },
}

/// Why a gate cannot say which keys have their ceremony, and therefore ends.
#[derive(Debug, thiserror::Error)]
pub enum CeremoniesError {
    /// The ledger cannot be read.
    #[error("the ceremonies in the ledger cannot be read")]
    Read(#[from] ReadError),
    /// The ledger cannot be written.
    #[error("a ceremony cannot be recorded")]
    Write(#[from] LedgerError),
    /// An entry is not what a gate writes.
    #[error("entry {sequence} is damaged: {problem}; bring back an undamaged copy")]
    Damaged {
        /// The entry.
        sequence: u64,
        /// What is wrong.
        problem: &'static str,
    },
    /// Two ceremonies name different people.
    #[error(
        "the ceremonies of the issuers' keys have different first approver rosters, {0} and {1}: one gate has one; use \
         keys of ceremonies that agree"
    )]
    Approvers(Digest, Digest),
    /// The system refused a thread.
    #[error("a transcript could not be verified")]
    Runtime(#[source] std::io::Error),
}

impl CeremoniesError {
    /// Whether another attempt may go better.
    pub(in crate::server) fn may_pass(&self) -> bool {
        match self {
            Self::Read(error) => matches!(error, ReadError::TimedOut(_)),
            Self::Write(error) => error.is_retryable(),
            Self::Damaged { .. } | Self::Approvers(..) | Self::Runtime(_) => false,
        }
    }

    /// Whether the configuration is at fault.
    pub(in crate::server) const fn is_configuration(&self) -> bool {
        matches!(self, Self::Approvers(..))
    }

    /// Whether another start would find the same.
    pub(in crate::server) const fn is_lasting(&self) -> bool {
        matches!(self, Self::Damaged { .. })
    }
}
