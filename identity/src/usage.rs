//! What a leaf's key may be used for.

use std::{fmt, str::FromStr};

use crate::text::serde_as_text;

/// An extended key usage that a leaf can have (RFC 5280, section 4.2.1.12).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Usage {
    /// TLS server authentication.
    ServerAuth,
    /// TLS client authentication.
    ClientAuth,
}

impl Usage {
    /// Its word in configuration and records.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ServerAuth => "server",
            Self::ClientAuth => "client",
        }
    }
}

impl FromStr for Usage {
    type Err = UsageError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "server" => Ok(Self::ServerAuth),
            "client" => Ok(Self::ClientAuth),
            _ => Err(UsageError(text.to_owned())),
        }
    }
}

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

serde_as_text!(Usage);

/// The text names no usage.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a usage is \"server\" or \"client\", not {0:?}")]
pub struct UsageError(pub String);
