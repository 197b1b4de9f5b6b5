//! Trust domain names (SPIFFE ID specification, section 2.1).

use std::{fmt, str::FromStr};

use crate::text::serde_as_text;

/// The longest trust domain name, in bytes.
pub const MAX_LENGTH: usize = 255;

/// The name of a trust domain: lower-case letters, digits, dots, dashes and underscores.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TrustDomain(String);

impl TrustDomain {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for TrustDomain {
    type Err = TrustDomainError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.is_empty() {
            return Err(TrustDomainError::Empty);
        }
        if text.len() > MAX_LENGTH {
            return Err(TrustDomainError::TooLong(text.len()));
        }
        match text
            .chars()
            .find(|c| !matches!(c, 'a'..='z' | '0'..='9' | '.' | '-' | '_'))
        {
            Some(found) => Err(TrustDomainError::Character(found)),
            None => Ok(Self(text.to_owned())),
        }
    }
}

impl fmt::Display for TrustDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AsRef<str> for TrustDomain {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

serde_as_text!(TrustDomain);

/// Why a text is not the name of a trust domain.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TrustDomainError {
    /// The text is empty.
    #[error("a trust domain cannot be empty")]
    Empty,
    /// The text is longer than [`MAX_LENGTH`]; the length in bytes.
    #[error("a trust domain has at most 255 bytes, this one has {0}")]
    TooLong(usize),
    /// A character that the specification does not allow, upper-case letters among them.
    #[error("a trust domain consists of a-z, 0-9, '.', '-' and '_', not {0:?}")]
    Character(char),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_the_usual_names() {
        for text in ["cluster.local", "a", "prod-1.example_x.com"] {
            assert_eq!(text.parse::<TrustDomain>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn refuses_what_the_specification_refuses() {
        assert_eq!("".parse::<TrustDomain>(), Err(TrustDomainError::Empty));
        assert_eq!("A".parse::<TrustDomain>(), Err(TrustDomainError::Character('A')));
        assert_eq!(
            "a,b".parse::<TrustDomain>(),
            Err(TrustDomainError::Character(','))
        );
        assert_eq!(
            "a".repeat(256).parse::<TrustDomain>(),
            Err(TrustDomainError::TooLong(256))
        );
    }
}
