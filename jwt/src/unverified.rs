//! Text out of a credential that nobody has verified.

use std::fmt;

/// Text out of a credential that nobody has verified: bounded and escaped, so that
/// it can neither forge a log line nor fill the log.
#[derive(Clone, PartialEq, Eq)]
pub struct Unverified(String);

impl Unverified {
    const MAX_CHARS: usize = 128;

    /// The text, cut to a readable length.
    #[must_use]
    pub fn new(text: &str) -> Self {
        let mut short: String = text.chars().take(Self::MAX_CHARS).collect();
        if short.len() < text.len() {
            short.push('…');
        }
        Self(short)
    }
}

impl fmt::Display for Unverified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

impl fmt::Debug for Unverified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
