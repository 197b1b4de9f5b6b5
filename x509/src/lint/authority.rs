//! The same for a whole CA certificate, whoever signed it: with a throwaway key before the real one is used, and
//! the real one afterwards.

use der::Decode;
use x509_cert::{
    Certificate,
    ext::pkix::{AuthorityKeyIdentifier, BasicConstraints, KeyUsage, SubjectKeyIdentifier},
};

use super::{Finding, Lint};
use crate::{authority::AuthorityTbs, spki::SpkiRef, verify_signature};

/// Reads a certificate again and compares it with what it was built from, with RFC 5280, and with the key that is
/// to have signed it.
///
/// # Errors
/// Everything that was found, at least one.
pub fn lint_authority(
    certificate_der: &[u8],
    built: &AuthorityTbs,
    signer_spki: &[u8],
) -> Result<(), Vec<Finding>> {
    let mut lint = Lint::default();
    match Certificate::from_der(certificate_der) {
        Ok(certificate) => {
            lint.authority_fields(&certificate, built);
            lint.authority_extensions(&certificate, built);
            lint.signature(&certificate, built, signer_spki);
        }
        Err(error) => lint.find("unreadable", error.to_string()),
    }
    if lint.findings.is_empty() {
        Ok(())
    } else {
        Err(lint.findings)
    }
}

impl Lint {
    fn authority_fields(&mut self, certificate: &Certificate, built: &AuthorityTbs) {
        let tbs = certificate.tbs_certificate();
        let fields = built.fields();
        let version = tbs.version() == x509_cert::Version::V3;
        self.require(version, "version", "it is not version 3");
        let serial = tbs.serial_number().as_bytes();
        let positive = serial.first().is_some_and(|first| *first < 0x80);
        // At least 64 bits that nobody can foretell: what is shorter is no random number of ours.
        self.require(
            positive && (9..=20).contains(&serial.len()) && serial == fields.serial.as_bytes(),
            "serial",
            "it is not the positive serial number of 9 to 20 octets",
        );
        self.require(
            tbs.signature() == certificate.signature_algorithm(),
            "algorithm",
            "the signed and the unsigned algorithm differ",
        );
        let subject = x509_cert::name::Name::from_der(&fields.subject_der);
        let issuer = x509_cert::name::Name::from_der(&fields.issuer_der);
        self.require(
            subject.as_ref() == Ok(tbs.subject()) && !tbs.subject().is_empty(),
            "subject",
            "it is not the subject that was asked for",
        );
        self.require(
            issuer.as_ref() == Ok(tbs.issuer()) && !tbs.issuer().is_empty(),
            "issuer",
            "it is not the issuer that was asked for",
        );
        let seconds = |at: sealwright_identity::Timestamp| u64::try_from(at.unix_seconds()).unwrap_or(0);
        let not_before = tbs.validity().not_before.to_unix_duration().as_secs();
        let not_after = tbs.validity().not_after.to_unix_duration().as_secs();
        self.require(
            not_before < not_after
                && not_before == seconds(fields.validity.not_before())
                && not_after == seconds(fields.validity.not_after()),
            "validity",
            "it is not the validity that was asked for",
        );
        let unique = tbs.issuer_unique_id().is_some() || tbs.subject_unique_id().is_some();
        self.require(!unique, "unique-id", "unique identifiers are not used");
    }

    fn authority_extensions(&mut self, certificate: &Certificate, built: &AuthorityTbs) {
        let tbs = certificate.tbs_certificate();
        let (fields, more) = (built.fields(), built.extensions());
        let list = tbs.extensions().map_or(&[][..], Vec::as_slice);
        let wanted = 4
            + usize::from(!more.crl_urls.is_empty())
            + usize::from(!more.issuer_urls.is_empty())
            + usize::from(more.rehearsal.is_some());
        self.require(
            list.len() == wanted,
            "extensions",
            "there are not as many as the profile has",
        );
        if let Some(constraints) = self.one::<BasicConstraints>(list, true) {
            self.require(
                constraints.ca && constraints.path_len_constraint == fields.path_len,
                "basic-constraints",
                "it is not a CA of the path length that was asked for",
            );
        }
        if let Some(usage) = self.one::<KeyUsage>(list, true) {
            let more = usage.digital_signature()
                || usage.key_encipherment()
                || usage.key_agreement()
                || usage.data_encipherment()
                || usage.non_repudiation()
                || usage.encipher_only()
                || usage.decipher_only();
            self.require(
                usage.key_cert_sign() && usage.crl_sign() && !more,
                "key-usage",
                "it is not certificate and CRL signing alone",
            );
        }
        let own = SpkiRef::parse(&fields.spki_der).map(|spki| spki.key_identifier());
        let own = own.as_ref().map_or(&[][..], |own| own);
        if let Some(identifier) = self.one::<SubjectKeyIdentifier>(list, false) {
            self.require(
                identifier.0.as_bytes() == own,
                "subject-key-identifier",
                "it is not the key's",
            );
        }
        if let Some(identifier) = self.one::<AuthorityKeyIdentifier>(list, false) {
            let expected = fields.aki.as_deref().unwrap_or(own);
            let found = identifier.key_identifier.as_ref().map(|octets| octets.as_bytes());
            self.require(
                found == Some(expected),
                "authority-key-identifier",
                "it is not the issuer's",
            );
        }
    }

    fn signature(&mut self, certificate: &Certificate, built: &AuthorityTbs, signer_spki: &[u8]) {
        let signature = certificate.signature().as_bytes().unwrap_or_default();
        let algorithm = built.fields().signature_algorithm;
        if let Err(error) = verify_signature(signer_spki, algorithm, built.as_der(), signature) {
            self.find("signature", error.to_string());
        }
    }
}
