//! What stops a ceremony.

use std::io;
use std::path::{Path, PathBuf};

use sealwright_x509::Finding;

use crate::approval::ApprovalError;
use crate::journal::JournalError;
use crate::plan::PlanError;
use crate::roster::RosterError;

/// Kinds of errors, for exit codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// What was given cannot be used.
    Input,
    /// Not enough people agreed, or somebody did not confirm.
    Denied,
    /// The state of the token, the folder or the PIN does not allow it.
    State,
    /// The token or a program failed; the ceremony can be resumed.
    Unavailable,
    /// A check of what was made failed: nothing of it may be used.
    Check,
    /// A fault of ours, or of the system.
    Internal,
}

/// Why a ceremony does not go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The plan.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The roster.
    #[error(transparent)]
    Roster(#[from] RosterError),
    /// The quorum.
    #[error(transparent)]
    Approval(#[from] ApprovalError),
    /// What was written down.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The token.
    #[error("the token did not do it: {doing}")]
    Token {
        /// What was to be done.
        doing: String,
        /// Why not.
        source: Box<sealwright_hsm::Error>,
    },
    /// Something is not as the plan says, before anything was made.
    #[error("precondition, stage {stage}: {problem}")]
    Precondition {
        /// 0 before the module is loaded, 1 before the login, 2 after it.
        stage: u8,
        /// What is not.
        problem: String,
    },
    /// The token refuses this plan for good.
    #[error("{0}")]
    State(String),
    /// A key is not what was ordered.
    #[error("the key of step {step} is not what was ordered: {}", .deviations.join("; "))]
    Attributes {
        /// The step.
        step: String,
        /// What deviates.
        deviations: Vec<String>,
    },
    /// A certificate that would be, or is, wrong.
    #[error("{when}, the certificate of step {step} fails the lint: {}", list(findings))]
    Lint {
        /// Before or after it was signed.
        when: &'static str,
        /// The step.
        step: String,
        /// What was found.
        findings: Vec<Finding>,
    },
    /// A check of something that was made.
    #[error("step {step}: {problem}")]
    Check {
        /// The step.
        step: String,
        /// What is wrong.
        problem: String,
    },
    /// The second verifier could not be asked.
    #[error("the openssl program cannot be used: {0}")]
    Openssl(String),
    /// Somebody did not confirm.
    #[error("not confirmed: {0}")]
    NotConfirmed(String),
    /// No PIN.
    #[error("no PIN for the token {token}")]
    Pin {
        /// The token.
        token: String,
        /// Why.
        source: sealwright_hsm::PinError,
    },
    /// A file.
    #[error("cannot use {}", path.display())]
    Files {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A fault of ours.
    #[error("internal: {0}")]
    Internal(String),
}

impl Error {
    /// The kind.
    #[must_use]
    pub fn class(&self) -> Class {
        match self {
            Self::Plan(_) | Self::Roster(_) => Class::Input,
            Self::Approval(_) | Self::NotConfirmed(_) => Class::Denied,
            Self::Precondition { .. } | Self::State(_) | Self::Pin { .. } => Class::State,
            error if error.is_pin() => Class::State,
            Self::Token { .. } | Self::Openssl(_) | Self::Files { .. } => Class::Unavailable,
            Self::Journal(error) => error.class(),
            Self::Attributes { .. } | Self::Lint { .. } | Self::Check { .. } => Class::Check,
            Self::Internal(_) => Class::Internal,
        }
    }

    /// Whether a PIN is at fault, so that nobody may simply start again.
    #[must_use]
    pub fn is_pin(&self) -> bool {
        match self {
            Self::Pin { .. } => true,
            Self::Token { source, .. } => source.is_pin(),
            _ => false,
        }
    }

    pub(crate) fn check(step: &str, problem: impl ToString) -> Self {
        Self::Check {
            step: step.to_owned(),
            problem: problem.to_string(),
        }
    }

    pub(crate) fn files(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Files { path, source }
    }

    pub(crate) fn token(doing: impl Into<String>) -> impl FnOnce(sealwright_hsm::Error) -> Self {
        let doing = doing.into();
        move |source| Self::Token {
            doing,
            source: Box::new(source),
        }
    }
}

fn list(findings: &[Finding]) -> String {
    let texts: Vec<_> = findings.iter().map(ToString::to_string).collect();
    texts.join("; ")
}
