//! Kinds of public keys.

use std::{fmt, str::FromStr};

use crate::text::serde_as_text;

/// A kind of public key, size included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum KeyType {
    /// ECDSA on NIST P-256.
    P256,
    /// ECDSA on NIST P-384.
    P384,
    /// Ed25519.
    Ed25519,
    /// RSA, with the modulus' size in bits.
    Rsa(u32),
    /// ML-DSA-65 (FIPS 204): a CA's key, never a workload's.
    MlDsa65,
}

impl FromStr for KeyType {
    type Err = KeyTypeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let unknown = || KeyTypeError(text.to_owned());
        match text {
            "p256" => Ok(Self::P256),
            "p384" => Ok(Self::P384),
            "ed25519" => Ok(Self::Ed25519),
            "ml-dsa-65" => Ok(Self::MlDsa65),
            _ => {
                let bits = text.strip_prefix("rsa").ok_or_else(unknown)?;
                match bits.parse() {
                    Ok(size) if (512..=16384).contains(&size) && !bits.starts_with(['+', '0']) => {
                        Ok(Self::Rsa(size))
                    }
                    _ => Err(unknown()),
                }
            }
        }
    }
}

impl fmt::Display for KeyType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::P256 => f.write_str("p256"),
            Self::P384 => f.write_str("p384"),
            Self::Ed25519 => f.write_str("ed25519"),
            Self::Rsa(bits) => write!(f, "rsa{bits}"),
            Self::MlDsa65 => f.write_str("ml-dsa-65"),
        }
    }
}

serde_as_text!(KeyType);

/// The text names no kind of key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a key type is p256, p384, ed25519, ml-dsa-65, or rsa with its bits such as rsa2048, not {0:?}")]
pub struct KeyTypeError(pub String);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_the_inverse_of_its_text() {
        for text in ["p256", "p384", "ed25519", "rsa2048", "rsa3072", "ml-dsa-65"] {
            assert_eq!(text.parse::<KeyType>().unwrap().to_string(), text);
        }
        for text in ["", "rsa", "rsa0", "rsa+2048", "rsa02048", "P256", "ml-dsa-44"] {
            assert!(text.parse::<KeyType>().is_err(), "{text}");
        }
    }
}
