//! Why a gate ends, and what its exit code tells the supervisor.

use std::io;

use sealwright_ledger::Error as LedgerError;
use sealwright_runtime::supervisor;

use super::ceremonies::CeremoniesError;
use super::home::HomeError;
use super::keys::{KeysError, KeysFailure};
use super::listener::ListenError;
use super::policies::PoliciesError;
use super::start::StartError;
use crate::config::ConfigError;
use crate::issuers::IssuersError;

/// The home is held, or the PIN is wrong, locked or expired: nobody may start it again.
pub const EXIT_STATE: i32 = supervisor::EXIT_STATE;

/// The configuration cannot work.
pub const EXIT_CONFIG: i32 = supervisor::EXIT_CONFIG;

/// Anything else: start it again.
pub const EXIT_FAULT: i32 = 70;

/// Why a gate ended, other than by being told to.
#[derive(Debug, thiserror::Error)]
pub enum GateError {
    /// The configuration contradicts itself.
    #[error("the configuration cannot be used")]
    Config(#[from] ConfigError),
    /// Issuers or policies cannot be loaded.
    #[error("the issuers cannot be loaded")]
    Issuers(#[from] IssuersError),
    /// The home cannot be used.
    #[error("the gate's home cannot be used")]
    Home(#[from] HomeError),
    /// The ledger cannot be opened or written.
    #[error("the ledger cannot be used")]
    Ledger(#[from] LedgerError),
    /// The ledger's writer ended while the gate ran.
    #[error("the ledger's writer has ended")]
    LedgerBroken,
    /// The token or a key in it cannot be used.
    #[error("the issuing keys cannot be used")]
    Keys(#[from] KeysError),
    /// Opening the token does not come to an end.
    #[error("the PKCS#11 module hangs while the token is opened")]
    KeysHung,
    /// The keys were lost while the gate ran.
    #[error("the issuing keys are lost to this process")]
    KeysLost(#[from] KeysFailure),
    /// What decides cannot be said.
    #[error("the policy sets cannot be used")]
    Policies(#[from] PoliciesError),
    /// Which keys have their ceremony cannot be said.
    #[error("the ceremonies of the issuers' keys cannot be used")]
    Ceremonies(#[from] CeremoniesError),
    /// The start cannot be described.
    #[error("the start cannot be recorded")]
    Start(#[from] StartError),
    /// There is no socket to listen on.
    #[error("the gate's socket cannot be used")]
    Listen(#[from] ListenError),
    /// The system refuses threads, signals or descriptors.
    #[error("the system refuses what the gate needs")]
    Runtime(#[source] io::Error),
}

impl GateError {
    /// The exit code of the process: 7, 2 or 70.
    pub fn exit_code(&self) -> i32 {
        match self {
            Self::Home(HomeError::Held { .. }) | Self::Ledger(LedgerError::Held { .. }) => EXIT_STATE,
            Self::Keys(error) if error.is_pin() => EXIT_STATE,
            Self::KeysLost(failure) if failure.is_pin() => EXIT_STATE,
            Self::Policies(error) if error.is_lasting() => EXIT_STATE,
            Self::Ceremonies(error) if error.is_lasting() => EXIT_STATE,
            Self::Ceremonies(error) if error.is_configuration() => EXIT_CONFIG,
            Self::Policies(error) if error.is_configuration() => EXIT_CONFIG,
            Self::Config(_)
            | Self::Issuers(_)
            | Self::Home(_)
            | Self::Listen(_)
            | Self::Ledger(LedgerError::TooNew { .. } | LedgerError::NotALedger { .. }) => EXIT_CONFIG,
            Self::Keys(error) if !error.may_pass() => EXIT_CONFIG,
            _ => EXIT_FAULT,
        }
    }
}
