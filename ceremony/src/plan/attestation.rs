//! Where a key's attestation comes from: what a vendor says of the device that made it. Nobody here can check it, so it
//! is kept as it was given, and labelled *unverified*.

use serde::{Deserialize, Serialize};

use crate::plan::KeyStep;

/// The most octets of an attestation that are kept.
pub(crate) const MAX_ATTESTATION: usize = 64 * 1024;

/// Vendors' own attributes begin here (`CKA_VENDOR_DEFINED`).
const VENDOR: u32 = 0x8000_0000;

/// Where an attestation comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Attestation {
    /// There is none: only the people in the room know which device holds the key.
    #[default]
    None,
    /// A file that the vendor's own tool makes once the key is there.
    File(String),
    /// An attribute of the private key that only this vendor knows, as `0x80000000` and above.
    Attribute(String),
}

impl Attestation {
    /// Whether there is none. A plan says so by leaving it out, so plans from before it keep their digest.
    #[must_use]
    pub fn is_none(&self) -> bool {
        *self == Self::None
    }

    /// The attribute's type, when it is an attribute, and a vendor's.
    pub(crate) fn vendor_attribute(&self) -> Option<u32> {
        let Self::Attribute(name) = self else {
            return None;
        };
        let digits = name.strip_prefix("0x").filter(|digits| digits.len() == 8)?;
        let kind = u32::from_str_radix(digits, 16).ok()?;
        (kind >= VENDOR && *digits == digits.to_ascii_lowercase()).then_some(kind)
    }

    pub(in crate::plan) fn problem(&self) -> Option<(&'static str, String)> {
        let good = match self {
            Self::None => true,
            Self::File(path) => !path.is_empty() && path.len() <= 4096 && !path.chars().any(char::is_control),
            Self::Attribute(_) => self.vendor_attribute().is_some(),
        };
        (!good).then(|| {
            (
                "attestation",
                "it is \"none\", { file = \"PATH\" }, or { attribute = \"0x…\" } with eight small digits, \
                 0x80000000 or above: an attribute of the vendor's own"
                    .to_owned(),
            )
        })
    }
}

impl KeyStep {
    /// Where its attestation lies in the transcript.
    pub(crate) fn attestation_file(&self) -> String {
        format!("attestations/{}.bin", self.name)
    }

    /// What people must know of it before.
    pub(crate) fn attestation_told(&self) -> String {
        match &self.attestation {
            Attestation::None => {
                "NO ATTESTATION: only the people in the room know which device holds it".to_owned()
            }
            Attestation::File(path) => {
                format!(
                    "its attestation is read from the file {path:?} once the key is there, and kept UNVERIFIED"
                )
            }
            Attestation::Attribute(name) => {
                format!("its attestation is the token's own attribute {name}, and kept UNVERIFIED")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_vendors_attributes_are_read() {
        for (name, kind) in [
            ("0x80000000", Some(0x8000_0000)),
            ("0xffffffff", Some(u32::MAX)),
            // CKA_VALUE, CKA_ALLOWED_MECHANISMS, and other spellings.
            ("0x00000011", None),
            ("0x40000600", None),
            ("0x8000000A", None),
            ("0x+8000000", None),
            ("80000000", None),
            ("0x180000000", None),
            ("", None),
        ] {
            let attestation = Attestation::Attribute(name.to_owned());
            assert_eq!(attestation.vendor_attribute(), kind, "{name}");
            assert_eq!(attestation.problem().is_none(), kind.is_some(), "{name}");
        }
        assert!(Attestation::File(String::new()).problem().is_some());
        assert!(Attestation::File("a.bin".to_owned()).problem().is_none());
    }
}
