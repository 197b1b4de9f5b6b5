//! DNS names (RFC 5890 LDH labels) and the patterns that an issuer's ceiling allows.

use std::{fmt, str::FromStr};

use crate::text::serde_as_text;

/// A DNS name in lower case: labels of letters, digits and inner dashes, no wildcard, no final dot.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DnsName(String);

impl DnsName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for DnsName {
    type Err = DnsNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.is_empty() || text.len() > 253 {
            return Err(DnsNameError::Length(text.len()));
        }
        let lower = text.to_ascii_lowercase();
        for label in lower.split('.') {
            let ldh = label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
            if label.is_empty() || label.len() > 63 || !ldh || label.starts_with('-') || label.ends_with('-')
            {
                return Err(DnsNameError::Label(label.to_owned()));
            }
        }
        // A name of four numbers would be read as an address by some verifiers.
        if lower
            .split('.')
            .next_back()
            .is_some_and(|label| label.bytes().all(|b| b.is_ascii_digit()))
        {
            return Err(DnsNameError::Label(lower));
        }
        Ok(Self(lower))
    }
}

impl fmt::Display for DnsName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

serde_as_text!(DnsName);

/// What an issuer may put into a DNS SAN: one name, or `*.` before a name for exactly one label more.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct DnsPattern {
    wildcard: bool,
    name: DnsName,
}

impl DnsPattern {
    /// Whether the name is one that the pattern allows.
    #[must_use]
    pub fn matches(&self, name: &DnsName) -> bool {
        if !self.wildcard {
            return *name == self.name;
        }
        name.0
            .split_once('.')
            .is_some_and(|(_, parent)| parent == self.name.0)
    }
}

impl FromStr for DnsPattern {
    type Err = DnsNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (wildcard, rest) = text.strip_prefix("*.").map_or((false, text), |rest| (true, rest));
        Ok(Self {
            wildcard,
            name: rest.parse()?,
        })
    }
}

impl fmt::Display for DnsPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", if self.wildcard { "*." } else { "" }, self.name)
    }
}

serde_as_text!(DnsPattern);

/// Why a text is not a DNS name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DnsNameError {
    /// Empty or too long; the length in bytes.
    #[error("a DNS name has 1 to 253 bytes, this one has {0}")]
    Length(usize),
    /// A label that is empty, too long or has other characters.
    #[error("a DNS label consists of letters, digits and inner dashes, and the last is no number: {0:?}")]
    Label(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_what_is_no_host_name() {
        for text in [
            "", ".", "a.", "-a", "a-", "a b", "*.a", "a_b", "10.0.0.1", "a,b", "é",
        ] {
            assert!(text.parse::<DnsName>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_wildcard_stands_for_one_label() {
        let pattern: DnsPattern = "*.example.com".parse().unwrap();
        let matches = |text: &str| pattern.matches(&text.parse().unwrap());
        assert!(matches("a.example.com"));
        assert!(matches("A.EXAMPLE.com"));
        assert!(!matches("example.com"));
        assert!(!matches("a.b.example.com"));
        assert!("*.*.a".parse::<DnsPattern>().is_err());
        assert_eq!(pattern.to_string(), "*.example.com");
    }
}
