//! Subject alternative names, typed: a list of these is never joined into one text.

use std::{fmt, net::IpAddr};

use crate::{DnsName, SpiffeId};

/// One subject alternative name (RFC 5280, section 4.2.1.6).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum San {
    /// A SPIFFE ID: the only kind of URI that we issue.
    Uri(SpiffeId),
    /// A DNS name.
    Dns(DnsName),
    /// An address; only serving certificates of our own have any.
    Ip(IpAddr),
}

impl fmt::Display for San {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Uri(id) => write!(f, "URI:{id}"),
            Self::Dns(name) => write!(f, "DNS:{name}"),
            Self::Ip(address) => write!(f, "IP:{address}"),
        }
    }
}

impl std::str::FromStr for San {
    type Err = SanError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let malformed = || SanError::Value(text.to_owned());
        match text.split_once(':') {
            Some(("URI", rest)) => rest.parse().map(Self::Uri).map_err(|_| malformed()),
            Some(("DNS", rest)) => rest.parse().map(Self::Dns).map_err(|_| malformed()),
            Some(("IP", rest)) => rest.parse().map(Self::Ip).map_err(|_| malformed()),
            _ => Err(SanError::Kind(text.to_owned())),
        }
    }
}

/// Why a text is not a subject alternative name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SanError {
    /// It does not begin with a known kind.
    #[error("a name is written URI:…, DNS:… or IP:…, not {0:?}")]
    Kind(String),
    /// The part after the kind is not valid.
    #[error("{0:?} is not a valid name of its kind")]
    Value(String),
}

crate::text::serde_as_text!(San);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_the_inverse_of_its_text() {
        for text in ["URI:spiffe://a/b", "DNS:a.b", "IP:127.0.0.1", "IP:::1"] {
            assert_eq!(text.parse::<San>().unwrap().to_string(), text);
        }
        for text in ["", "a.b", "URI:https://a/b", "DNS:a,b", "IP:x", "EMAIL:a@b"] {
            assert!(text.parse::<San>().is_err(), "{text}");
        }
    }
}
