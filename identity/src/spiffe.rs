//! SPIFFE IDs (SPIFFE ID specification, section 2).

use std::{fmt, str::FromStr};

use crate::{TrustDomain, TrustDomainError, text::serde_as_text};

const SCHEME: &str = "spiffe://";

/// The longest SPIFFE ID, in bytes.
pub const MAX_LENGTH: usize = 2048;

/// A SPIFFE ID: `spiffe://` trust domain, then a path of one or more segments.
///
/// The ID of a trust domain itself (no path) is not a workload's and is refused.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SpiffeId {
    text: String,
    trust_domain: TrustDomain,
}

impl SpiffeId {
    /// The ID of `path` (with its leading slash) in a trust domain.
    ///
    /// # Errors
    /// As parsing the joined text.
    pub fn new(trust_domain: &TrustDomain, path: &str) -> Result<Self, SpiffeIdError> {
        format!("{SCHEME}{trust_domain}{path}").parse()
    }

    /// The trust domain.
    #[must_use]
    pub fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// The path, from its leading slash.
    #[must_use]
    pub fn path(&self) -> &str {
        self.text
            .get(SCHEME.len() + self.trust_domain.as_str().len()..)
            .unwrap_or_default()
    }

    /// The whole ID.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The same path in another trust domain.
    ///
    /// # Errors
    /// When the result is too long.
    pub fn in_trust_domain(&self, trust_domain: &TrustDomain) -> Result<Self, SpiffeIdError> {
        Self::new(trust_domain, self.path())
    }
}

impl FromStr for SpiffeId {
    type Err = SpiffeIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() > MAX_LENGTH {
            return Err(SpiffeIdError::TooLong(text.len()));
        }
        let rest = text.strip_prefix(SCHEME).ok_or(SpiffeIdError::Scheme)?;
        let (domain, path) = rest.split_once('/').ok_or(SpiffeIdError::NoPath)?;
        let trust_domain = domain.parse().map_err(SpiffeIdError::TrustDomain)?;
        path.split('/').try_for_each(check_segment)?;
        Ok(Self {
            text: text.to_owned(),
            trust_domain,
        })
    }
}

/// One path segment: letters, digits, dot, dash, underscore; neither empty nor relative (section 2.2).
pub(crate) fn check_segment(segment: &str) -> Result<(), SpiffeIdError> {
    if segment.is_empty() {
        return Err(SpiffeIdError::EmptySegment);
    }
    if segment == "." || segment == ".." {
        return Err(SpiffeIdError::RelativeSegment);
    }
    match segment
        .chars()
        .find(|c| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_')))
    {
        Some(found) => Err(SpiffeIdError::Character(found)),
        None => Ok(()),
    }
}

impl fmt::Display for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SpiffeId({})", self.text)
    }
}

serde_as_text!(SpiffeId);

/// Why a text is not a workload's SPIFFE ID.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpiffeIdError {
    /// Longer than [`MAX_LENGTH`]; the length in bytes.
    #[error("a SPIFFE ID has at most 2048 bytes, this one has {0}")]
    TooLong(usize),
    /// Another scheme, or none.
    #[error("a SPIFFE ID begins with spiffe://")]
    Scheme,
    /// The trust domain is not one.
    #[error("the trust domain of the SPIFFE ID is not valid")]
    TrustDomain(#[source] TrustDomainError),
    /// The ID names a trust domain, not a workload.
    #[error("a workload's SPIFFE ID has a path")]
    NoPath,
    /// Two slashes in a row, or one at the end.
    #[error("a path segment of a SPIFFE ID cannot be empty")]
    EmptySegment,
    /// A segment `.` or `..`.
    #[error("a path segment of a SPIFFE ID cannot be relative")]
    RelativeSegment,
    /// A character that the specification does not allow in a path.
    #[error("a SPIFFE ID's path consists of letters, digits, '.', '-', '_' and '/', not {0:?}")]
    Character(char),
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn splits_into_trust_domain_and_path() {
        let id: SpiffeId = "spiffe://cluster.local/ns/a/sa/b".parse().unwrap();
        assert_eq!(id.trust_domain().as_str(), "cluster.local");
        assert_eq!(id.path(), "/ns/a/sa/b");
    }

    #[test]
    fn refuses_what_the_specification_refuses() {
        let long = format!("spiffe://a/{}", "b".repeat(2038));
        let table = [
            ("https://a/b", SpiffeIdError::Scheme),
            ("SPIFFE://a/b", SpiffeIdError::Scheme),
            ("spiffe://a", SpiffeIdError::NoPath),
            ("spiffe://a/", SpiffeIdError::EmptySegment),
            ("spiffe://a/b//c", SpiffeIdError::EmptySegment),
            ("spiffe://a/b/", SpiffeIdError::EmptySegment),
            ("spiffe://a/../c", SpiffeIdError::RelativeSegment),
            ("spiffe://a/b%20", SpiffeIdError::Character('%')),
            ("spiffe://a/b?q", SpiffeIdError::Character('?')),
            ("spiffe://a/b,c", SpiffeIdError::Character(',')),
            ("spiffe:///b", SpiffeIdError::TrustDomain(TrustDomainError::Empty)),
            (
                "spiffe://a:1/b",
                SpiffeIdError::TrustDomain(TrustDomainError::Character(':')),
            ),
            (long.as_str(), SpiffeIdError::TooLong(2049)),
        ];
        for (text, error) in table {
            assert_eq!(text.parse::<SpiffeId>(), Err(error), "{text}");
        }
    }

    #[test]
    fn takes_the_longest_allowed() {
        let text = format!("spiffe://a/{}", "b".repeat(2037));
        assert_eq!(text.parse::<SpiffeId>().unwrap().as_str().len(), MAX_LENGTH);
    }

    proptest! {
        #[test]
        fn prints_what_it_parsed(text in "spiffe://[a-z0-9._-]{1,20}(/[A-Za-z0-9_-][A-Za-z0-9._-]{0,8}){1,5}") {
            let id: SpiffeId = text.parse().unwrap();
            prop_assert_eq!(id.to_string(), text);
            prop_assert_eq!(SpiffeId::new(id.trust_domain(), id.path()).unwrap(), id);
        }

        #[test]
        fn never_panics(text in ".{0,64}") {
            let _ = text.parse::<SpiffeId>();
        }
    }
}
