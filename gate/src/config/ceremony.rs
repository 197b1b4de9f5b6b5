//! `issuers.ceremony` and `[ceremonies]`: where a key's ceremony is written down, and whose word counts.

use std::fmt;
use std::path::{Path, PathBuf};

use sealwright_identity::Digest;
use serde::{Deserialize, Serialize};

/// The word for a key that no ceremony made.
const NONE: &str = "none";

/// Where the transcript of the ceremony of an issuer's key is: a folder, or the word `none`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum CeremonyConfig {
    /// No ceremony made the key, and it is said wherever it may matter.
    None,
    /// The transcript's folder. A folder of the name `none` is `./none`.
    Transcript(PathBuf),
}

impl CeremonyConfig {
    pub(super) fn resolve(&mut self, base: &Path) {
        if let Self::Transcript(path) = self {
            super::resolve(base, path);
        }
    }

    /// The transcript's folder.
    pub fn transcript(&self) -> Option<&Path> {
        match self {
            Self::None => None,
            Self::Transcript(path) => Some(path),
        }
    }
}

impl From<String> for CeremonyConfig {
    fn from(text: String) -> Self {
        if text == NONE {
            Self::None
        } else {
            Self::Transcript(text.into())
        }
    }
}

impl From<CeremonyConfig> for String {
    fn from(config: CeremonyConfig) -> Self {
        config.to_string()
    }
}

impl fmt::Display for CeremonyConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str(NONE),
            Self::Transcript(path) => write!(f, "{}", path.display()),
        }
    }
}

/// Whose ceremonies count.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CeremoniesConfig {
    /// The digests of the rosters, as they stand on the ceremonies' paper.
    #[serde(default)]
    pub rosters: Vec<Digest>,
}
