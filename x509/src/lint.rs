//! A lint of the exact bytes of a leaf, by another parser (`x509-cert`) than the one that is in the profile.
//!
//! The profile keeps us from writing what we do not mean; this finds what we mean and should not. A finding is
//! a fault of ours, never of an applicant, and stops the issuance.

mod authority;

use std::fmt;

use der::{Decode, oid::AssociatedOid};
use x509_cert::{
    TbsCertificate,
    ext::{
        Extension,
        pkix::{
            AuthorityKeyIdentifier, BasicConstraints, ExtendedKeyUsage, KeyUsage, SubjectAltName,
            SubjectKeyIdentifier, name::GeneralName,
        },
    },
};

pub use self::authority::lint_authority;
use crate::{issuer::IssuerChain, tbs::LeafTbs};

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// A short name.
    pub code: &'static str,
    /// What was found.
    pub detail: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.detail)
    }
}

/// Reads the bytes again and compares them with RFC 5280 and with the issuer.
///
/// # Errors
/// Everything that was found, at least one.
pub fn lint_leaf(leaf: &LeafTbs, issuer: &IssuerChain) -> Result<(), Vec<Finding>> {
    let mut lint = Lint::default();
    match TbsCertificate::from_der(leaf.as_der()) {
        Ok(tbs) => {
            lint.fields(&tbs, leaf, issuer);
            lint.extensions(&tbs, issuer);
        }
        Err(error) => lint.find("unreadable", error.to_string()),
    }
    if lint.findings.is_empty() {
        Ok(())
    } else {
        Err(lint.findings)
    }
}

#[derive(Default)]
struct Lint {
    findings: Vec<Finding>,
}

impl Lint {
    fn find(&mut self, code: &'static str, detail: impl Into<String>) {
        let detail = detail.into();
        self.findings.push(Finding { code, detail });
    }

    fn require(&mut self, holds: bool, code: &'static str, detail: &str) {
        if !holds {
            self.find(code, detail);
        }
    }

    fn fields(&mut self, tbs: &TbsCertificate, leaf: &LeafTbs, issuer: &IssuerChain) {
        let fields = leaf.fields();
        let version = tbs.version() == x509_cert::Version::V3;
        self.require(version, "version", "it is not version 3");
        let serial = tbs.serial_number().as_bytes();
        let positive = serial.first().is_some_and(|first| *first < 0x80);
        self.require(
            positive && serial.len() <= 20 && serial != [0] && serial == fields.serial.as_bytes(),
            "serial",
            "it is not the positive serial number of at most 20 octets",
        );
        self.require(
            fields.signature_algorithm == issuer.signature_algorithm(),
            "algorithm",
            "it is not what the issuer's key signs with",
        );
        self.require(
            fields.issuer_der == issuer.issuer_name_der() && !tbs.issuer().is_empty(),
            "issuer",
            "it is not the issuing certificate's subject",
        );
        let not_before = tbs.validity().not_before.to_unix_duration().as_secs();
        let not_after = tbs.validity().not_after.to_unix_duration().as_secs();
        let issuer_end = u64::try_from(issuer.not_after().unix_seconds()).unwrap_or(0);
        self.require(
            not_before < not_after && not_after <= issuer_end,
            "validity",
            "it is empty or ends after the issuer",
        );
        let subject_fits = match (&fields.common_name, tbs.subject().common_name()) {
            (None, _) => tbs.subject().is_empty(),
            (Some(ours), Ok(Some(theirs))) => tbs.subject().len() == 1 && *theirs.value() == **ours,
            (Some(_), _) => false,
        };
        self.require(subject_fits, "subject", "it is not empty or the one common name");
        let unique = tbs.issuer_unique_id().is_some() || tbs.subject_unique_id().is_some();
        self.require(!unique, "unique-id", "unique identifiers are not used");
    }

    fn extensions(&mut self, tbs: &TbsCertificate, issuer: &IssuerChain) {
        let list = tbs.extensions().map_or(&[][..], Vec::as_slice);
        self.require(list.len() == 6, "extensions", "there are not the profile's six");
        if let Some(constraints) = self.one::<BasicConstraints>(list, true) {
            let end_entity = !constraints.ca && constraints.path_len_constraint.is_none();
            self.require(end_entity, "basic-constraints", "it is a CA");
        }
        if let Some(usage) = self.one::<KeyUsage>(list, true) {
            let algorithm = &tbs.subject_public_key_info().algorithm;
            let rsa = algorithm.oid == const_oid::db::rfc5912::RSA_ENCRYPTION;
            let enciphers = usage.key_encipherment() == rsa;
            let more = usage.key_cert_sign()
                || usage.crl_sign()
                || usage.key_agreement()
                || usage.data_encipherment()
                || usage.non_repudiation()
                || usage.encipher_only()
                || usage.decipher_only();
            self.require(
                usage.digital_signature() && enciphers && !more,
                "key-usage",
                "it does not fit the kind of key",
            );
        }
        if let Some(usages) = self.one::<ExtendedKeyUsage>(list, false) {
            const ALLOWED: [der::asn1::ObjectIdentifier; 2] = [
                const_oid::db::rfc5912::ID_KP_SERVER_AUTH,
                const_oid::db::rfc5912::ID_KP_CLIENT_AUTH,
            ];
            let fits = !usages.0.is_empty() && usages.0.iter().all(|oid| ALLOWED.contains(oid));
            self.require(fits, "extended-key-usage", "it is not of TLS");
        }
        if let Some(identifier) = self.one::<SubjectKeyIdentifier>(list, false) {
            let sized = identifier.0.as_bytes().len() == 20;
            self.require(sized, "subject-key-identifier", "it does not have 160 bits");
        }
        if let Some(identifier) = self.one::<AuthorityKeyIdentifier>(list, false) {
            let ours = identifier
                .key_identifier
                .map(|octets| octets.as_bytes() == issuer.ski());
            self.require(
                ours == Some(true),
                "authority-key-identifier",
                "it is not the issuer's",
            );
        }
        if let Some(names) = self.one::<SubjectAltName>(list, true) {
            self.names(&names.0);
        }
    }

    fn names(&mut self, names: &[GeneralName]) {
        self.require(!names.is_empty(), "names", "there are none");
        let mut uris = 0;
        for name in names {
            match name {
                GeneralName::UniformResourceIdentifier(uri) => {
                    uris += 1;
                    let spiffe = uri.as_str().starts_with("spiffe://") && uri.as_str().len() <= 2048;
                    self.require(spiffe, "names", "a URI is not a SPIFFE ID of at most 2048 bytes");
                }
                GeneralName::DnsName(name) => {
                    self.require(!name.as_str().contains('*'), "names", "a DNS name is a wildcard");
                }
                GeneralName::IpAddress(_) => {}
                _ => self.find("names", "a name is of a kind that is not issued"),
            }
        }
        self.require(uris <= 1, "names", "there is more than one URI");
    }

    /// The only extension of a type, with the profile's criticality.
    fn one<'a, T: Decode<'a> + AssociatedOid>(&mut self, list: &'a [Extension], critical: bool) -> Option<T> {
        let mut of_type = list.iter().filter(|extension| extension.extn_id == T::OID);
        let (Some(found), None) = (of_type.next(), of_type.next()) else {
            self.find("extensions", format!("{} is not there once", T::OID));
            return None;
        };
        if found.critical != critical {
            self.find("criticality", format!("{} is critical or not, wrongly", T::OID));
        }
        let decoded = T::from_der(found.extn_value.as_bytes());
        if decoded.is_err() {
            self.find("extensions", format!("{} cannot be read", T::OID));
        }
        decoded.ok()
    }
}
