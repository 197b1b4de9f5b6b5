//! Object identifiers, as the contents octets that DER holds.

use der::asn1::ObjectIdentifier;

pub(crate) const RSA_ENCRYPTION: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
pub(crate) const EC_PUBLIC_KEY: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
pub(crate) const P256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
pub(crate) const P384: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x22];
pub(crate) const ED25519: &[u8] = &[0x2b, 0x65, 0x70];
/// id-ml-dsa-65 (RFC 9881, section 2), of keys and of signatures.
pub(crate) const ML_DSA_65: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x03, 0x12];

pub(crate) const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];
pub(crate) const ORGANIZATION: &[u8] = &[0x55, 0x04, 0x0a];

/// PKCS#9 extensionRequest (RFC 2985, section 5.4.2).
pub(crate) const EXTENSION_REQUEST: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x0e];

pub(crate) const SUBJECT_KEY_IDENTIFIER: &[u8] = &[0x55, 0x1d, 0x0e];
pub(crate) const KEY_USAGE: &[u8] = &[0x55, 0x1d, 0x0f];
pub(crate) const SUBJECT_ALT_NAME: &[u8] = &[0x55, 0x1d, 0x11];
pub(crate) const BASIC_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 0x13];
pub(crate) const AUTHORITY_KEY_IDENTIFIER: &[u8] = &[0x55, 0x1d, 0x23];
pub(crate) const EXTENDED_KEY_USAGE: &[u8] = &[0x55, 0x1d, 0x25];

pub(crate) const ANY_EXTENDED_KEY_USAGE: &[u8] = &[0x55, 0x1d, 0x25, 0x00];
pub(crate) const SERVER_AUTH: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x01];
pub(crate) const CLIENT_AUTH: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x02];

/// AuthorityInfoAccess and its caIssuers (RFC 5280, section 4.2.2.1); cRLDistributionPoints (4.2.1.13).
pub(crate) const AUTHORITY_INFO_ACCESS: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x01, 0x01];
pub(crate) const CA_ISSUERS: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x30, 0x02];
pub(crate) const CRL_DISTRIBUTION_POINTS: &[u8] = &[0x55, 0x1d, 0x1f];

/// Our own, below an arc that needs no registration and that every parser can hold (ADR 11): the extension of
/// certificates from a rehearsal, and the attribute of requests that confirm a ceremony.
pub(crate) const REHEARSAL: &[u8] = &[0x69, 0xef, 0x85, 0xa0, 0x7c, 0x01];
pub(crate) const CONFIRMATION: &[u8] = &[0x69, 0xef, 0x85, 0xa0, 0x7c, 0x02];

/// Octets of an object identifier without a dotted form that are shown.
const SHOWN: usize = 64;

/// The dotted form, for people; the first octets in hexadecimal when there is none. Never long, whatever
/// an attacker wrote.
pub(crate) fn dotted(contents: &[u8]) -> String {
    match ObjectIdentifier::from_bytes(contents) {
        Ok(oid) => oid.to_string(),
        Err(_) => {
            let shown = contents.iter().take(SHOWN);
            let mut text: String = shown.map(|octet| format!("{octet:02x}")).collect();
            if contents.len() > SHOWN {
                text.push('…');
            }
            text
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn are_what_their_names_say() {
        let table = [
            (RSA_ENCRYPTION, "1.2.840.113549.1.1.1"),
            (EC_PUBLIC_KEY, "1.2.840.10045.2.1"),
            (P256, "1.2.840.10045.3.1.7"),
            (P384, "1.3.132.0.34"),
            (ED25519, "1.3.101.112"),
            (ML_DSA_65, "2.16.840.1.101.3.4.3.18"),
            (COMMON_NAME, "2.5.4.3"),
            (ORGANIZATION, "2.5.4.10"),
            (EXTENSION_REQUEST, "1.2.840.113549.1.9.14"),
            (SUBJECT_KEY_IDENTIFIER, "2.5.29.14"),
            (KEY_USAGE, "2.5.29.15"),
            (SUBJECT_ALT_NAME, "2.5.29.17"),
            (BASIC_CONSTRAINTS, "2.5.29.19"),
            (AUTHORITY_KEY_IDENTIFIER, "2.5.29.35"),
            (EXTENDED_KEY_USAGE, "2.5.29.37"),
            (ANY_EXTENDED_KEY_USAGE, "2.5.29.37.0"),
            (SERVER_AUTH, "1.3.6.1.5.5.7.3.1"),
            (CLIENT_AUTH, "1.3.6.1.5.5.7.3.2"),
            (AUTHORITY_INFO_ACCESS, "1.3.6.1.5.5.7.1.1"),
            (CA_ISSUERS, "1.3.6.1.5.5.7.48.2"),
            (CRL_DISTRIBUTION_POINTS, "2.5.29.31"),
            (REHEARSAL, "2.25.232870012.1"),
            (CONFIRMATION, "2.25.232870012.2"),
        ];
        for (contents, text) in table {
            assert_eq!(dotted(contents), text);
        }
        assert_eq!(dotted(&[0x80]), "80");
        assert!(dotted(&[0x80; 100_000]).len() < 256);
    }
}
