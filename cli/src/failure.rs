//! Failures by class: the class is the exit code.

use std::{fmt, process::ExitCode};

use sealwright_runtime::Chain;

use crate::output;

/// What kind of failure, as scripts see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// Arguments or configuration.
    Usage,
    /// The caller is not who it says.
    Authentication,
    /// A policy or ceiling says no.
    Denied,
    /// Nobody answers, or not in time.
    Unavailable,
    /// What was given cannot be used.
    Input,
    /// The home is held, the PIN was refused.
    State,
    /// Records that a replay contradicts.
    Contradicted,
    /// A replay that could not compare everything.
    Incomplete,
    /// A ceremony is open on its tokens, and goes on with `--resume`.
    Interrupted,
    /// Two things that should be alike are not.
    Differs,
    /// Something is there that nothing explains.
    Unexplained,
    /// A ceremony was given up: what it made is for no use.
    GivenUp,
    /// A fault of ours, or of the system.
    Internal,
}

impl Class {
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Usage => 2,
            Self::Authentication => 3,
            Self::Denied => 4,
            Self::Unavailable => 5,
            Self::Input => 6,
            Self::State => 7,
            Self::Contradicted => 8,
            Self::Incomplete => 9,
            Self::Interrupted => 10,
            Self::Differs => 11,
            Self::Unexplained => 12,
            Self::GivenUp => 13,
            Self::Internal => 70,
        }
    }
}

/// An error with its class.
#[derive(Debug)]
pub(crate) struct Failure {
    class: Class,
    error: anyhow::Error,
}

impl Failure {
    pub(crate) fn new(class: Class, error: impl Into<anyhow::Error>) -> Self {
        Self {
            class,
            error: error.into(),
        }
    }

    /// An error under a sentence that says where it leaves things.
    pub(crate) fn doing(class: Class, error: impl Into<anyhow::Error>, doing: &'static str) -> Self {
        Self::new(class, error.into().context(doing))
    }

    pub(crate) fn text(class: Class, text: impl fmt::Display) -> Self {
        Self::new(class, anyhow::anyhow!("{text}"))
    }

    /// The same under a sentence that says what was being done.
    pub(crate) fn while_doing(self, doing: impl fmt::Display) -> Self {
        Self {
            class: self.class,
            error: self.error.context(doing.to_string()),
        }
    }

    /// Prints the error to standard error and gives the exit code.
    pub(crate) fn report(&self) -> ExitCode {
        output::notice(&self.to_string());
        ExitCode::from(self.class.code())
    }

    #[cfg(test)]
    pub(crate) fn class(&self) -> Class {
        self.class
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Chain(self.error.as_ref()).fmt(f)
    }
}

/// Gives errors their class.
pub(crate) trait OrFail<T> {
    /// The error as it stands.
    fn or_fail(self, class: Class) -> Result<T, Failure>;

    /// The error under a sentence that says what was being done.
    fn or_fail_doing(self, class: Class, doing: impl fmt::Display) -> Result<T, Failure>;
}

impl<T, E: Into<anyhow::Error>> OrFail<T> for Result<T, E> {
    fn or_fail(self, class: Class) -> Result<T, Failure> {
        self.map_err(|error| Failure::new(class, error))
    }

    fn or_fail_doing(self, class: Class, doing: impl fmt::Display) -> Result<T, Failure> {
        self.map_err(|error| Failure::new(class, error.into().context(doing.to_string())))
    }
}
