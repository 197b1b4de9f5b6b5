//! What can be wrong with the policy sets of a home.

use std::io;
use std::path::PathBuf;

use sealwright_identity::Digest;
use sealwright_ledger::{Error as LedgerError, ReadError};
use sealwright_statement::policy::QuorumError;
use sealwright_statement::{EnvelopeError, StatementError};

/// Why a gate cannot say what decides, and therefore ends.
#[derive(Debug, thiserror::Error)]
pub enum PoliciesError {
    /// The ledger's policy entries cannot be read.
    #[error("the policy entries of the ledger cannot be read")]
    Read(#[from] ReadError),
    /// The ledger cannot be written.
    #[error("a policy entry cannot be written")]
    Write(#[from] LedgerError),
    /// An entry names a statement that the ledger does not have.
    #[error("entry {sequence} names {digest}, which the ledger does not have; bring back an undamaged copy")]
    Missing {
        /// The entry.
        sequence: u64,
        /// What it names.
        digest: Digest,
    },
    /// An entry is not what a gate writes.
    #[error("entry {sequence} is damaged: {problem}; bring back an undamaged copy")]
    Damaged {
        /// The entry.
        sequence: u64,
        /// What is wrong.
        problem: &'static str,
    },
    /// A statement in the ledger is none.
    #[error("a statement that entry {sequence} brings in cannot be read")]
    Statement {
        /// The entry.
        sequence: u64,
        /// Why.
        #[source]
        source: Box<EnvelopeError>,
    },
    /// What an entry says took effect could not have.
    #[error("what entry {sequence} says took effect does not hold")]
    Quorum {
        /// The entry.
        sequence: u64,
        /// Why.
        #[source]
        source: Box<QuorumError>,
    },
    /// The ledger is older than the gate's own mark.
    #[error(
        "{}: the gate was at {known}, and the ledger has {found}: it was restored from an older copy; bring back the \
         newer one. To go on with the older one in spite of that, remove this file",
        path.display()
    )]
    Restored {
        /// The mark's file.
        path: PathBuf,
        /// What the mark says.
        known: String,
        /// What the ledger says.
        found: String,
    },
    /// The mark or a staged file cannot be used.
    #[error("cannot use {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// No roster is known.
    #[error(
        "policy_sets.roster: there is none, and the ledger has none; name the file of the first approver roster, use a key whose ceremony has one, or \
         write rehearsal = true in every [[issuers]]"
    )]
    NoRoster,
    /// The roster's file is none.
    #[error("policy_sets.roster: {} is not the file of an approver roster", path.display())]
    Roster {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: Box<EnvelopeError>,
    },
    /// The roster of the configuration lets nobody agree.
    #[error("policy_sets.roster: by {} nobody has to agree; write a threshold of at least 1", path.display())]
    Threshold {
        /// The file.
        path: PathBuf,
    },
    /// The roster of the configuration is not the one in force.
    #[error(
        "policy_sets.roster: {} is {configured}, in force is {in_force}; rosters change by a policy set only: take \
         the key out, or name the file of the one in force",
        path.display()
    )]
    RosterDiffers {
        /// The file.
        path: PathBuf,
        /// The configured roster.
        configured: Digest,
        /// The one in force.
        in_force: Digest,
    },
    /// The roster of the configuration is not the one of the ceremony.
    #[error(
        "policy_sets.roster: {} is {configured}, and the ceremony of the issuer's key has the first roster {ceremony}; take \
         the key out: the ceremony's counts",
        path.display()
    )]
    CeremonyRoster {
        /// The file.
        path: PathBuf,
        /// The configured roster.
        configured: Digest,
        /// The ceremony's.
        ceremony: Digest,
    },
    /// A rehearsal's ledger without the mark.
    #[error(
        "issuers.rehearsal: the ledger is a rehearsal's, where nobody has to agree; write rehearsal = true in every \
         [[issuers]], or use a home of its own"
    )]
    WasRehearsal,
    /// Policies in the configuration where people must agree.
    #[error(
        "policies: {0} people must agree here, and policies come by statements; take [[policies]] and issuers.policies out"
    )]
    PeopleMustAgree(u64),
    /// Policies in the configuration where sets decide.
    #[error(
        "policies: set {0} took effect by statement, and since then policies come by statements only; take \
         [[policies]] and issuers.policies out"
    )]
    InConfiguration(u64),
    /// Policies of the configuration that cannot be a set.
    #[error("policies: {0}")]
    Seed(String),
    /// Policies of the configuration that cannot be a statement.
    #[error("the policies of the configuration cannot be a set")]
    SeedStatement(#[from] StatementError),
    /// What the configuration says could not take effect.
    #[error("the set that was made from the configuration cannot take effect")]
    SeedQuorum(#[source] Box<QuorumError>),
}

impl PoliciesError {
    /// Whether another attempt may go better: the ledger is locked, its disk is full or slow.
    pub(in crate::server) fn may_pass(&self) -> bool {
        match self {
            Self::Read(error) => matches!(error, ReadError::TimedOut(_)),
            Self::Write(error) => error.is_retryable(),
            _ => false,
        }
    }

    /// Whether the configuration is at fault.
    pub(in crate::server) const fn is_configuration(&self) -> bool {
        matches!(
            self,
            Self::NoRoster
                | Self::Roster { .. }
                | Self::Threshold { .. }
                | Self::RosterDiffers { .. }
                | Self::CeremonyRoster { .. }
                | Self::WasRehearsal
                | Self::PeopleMustAgree(_)
                | Self::InConfiguration(_)
                | Self::Seed(_)
                | Self::SeedStatement(_)
                | Self::SeedQuorum(_)
        )
    }

    /// Whether another start would find the same: what is on the disk is not to be trusted.
    pub(in crate::server) const fn is_lasting(&self) -> bool {
        matches!(
            self,
            Self::Missing { .. }
                | Self::Damaged { .. }
                | Self::Statement { .. }
                | Self::Quorum { .. }
                | Self::Restored { .. }
        )
    }
}
