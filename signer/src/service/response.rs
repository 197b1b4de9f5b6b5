//! The layout of an answer: leaf, one intermediate per element, the whole root bundle last.
//!
//! ztunnel parses exactly one certificate in each middle element and several in the last; other
//! clients join the elements as they are. So each ends with a newline, and the roots stay together.

use sealwright_proto::istio::{CsrResponse, IstioCertificateResponse};
use sealwright_proto::signing::Certificate;
use sealwright_x509::pem;

use crate::ca::IssuedCertificate;

impl From<IssuedCertificate> for IstioCertificateResponse {
    fn from(issued: IssuedCertificate) -> Self {
        let cert_chain = chain(&issued);
        Self { cert_chain }
    }
}

impl From<IssuedCertificate> for Certificate {
    fn from(issued: IssuedCertificate) -> Self {
        let cert_chain = chain(&issued);
        Self { cert_chain }
    }
}

fn chain(issued: &IssuedCertificate) -> Vec<String> {
    let certificates = std::iter::once(&issued.leaf).chain(&issued.intermediates);
    let mut cert_chain: Vec<String> = certificates
        .map(|der| pem::encode(pem::CERTIFICATE, der))
        .collect();
    let roots = ended(&String::from_utf8_lossy(&issued.roots_pem));
    if !roots.is_empty() {
        cert_chain.push(roots);
    }
    cert_chain
}

impl From<IssuedCertificate> for CsrResponse {
    fn from(issued: IssuedCertificate) -> Self {
        let intermediates: String = issued
            .intermediates
            .iter()
            .map(|der| pem::encode(pem::CERTIFICATE, der))
            .collect();
        Self {
            is_approved: true,
            status: None,
            signed_cert: pem::encode(pem::CERTIFICATE, &issued.leaf).into_bytes(),
            cert_chain: intermediates.into_bytes(),
        }
    }
}

fn ended(text: &str) -> String {
    let text = text.trim();
    if text.is_empty() {
        return String::new();
    }
    format!("{text}\n")
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use sealwright_identity::SerialNumber;

    use super::*;

    fn issued(intermediates: usize, roots: &str) -> IssuedCertificate {
        IssuedCertificate {
            leaf: Bytes::from_static(b"leaf"),
            intermediates: vec![Bytes::from_static(b"intermediate"); intermediates],
            roots_pem: Bytes::copy_from_slice(roots.as_bytes()),
            serial: SerialNumber::random().unwrap(),
            sequence: 1,
        }
    }

    #[test]
    fn one_certificate_per_element_and_the_bundle_whole() {
        let two_roots = format!(
            "{}{}",
            pem::encode(pem::CERTIFICATE, b"one"),
            pem::encode(pem::CERTIFICATE, b"two").trim_end()
        );
        for intermediates in 0..3 {
            let chain = IstioCertificateResponse::from(issued(intermediates, &two_roots)).cert_chain;
            assert_eq!(chain.len(), intermediates + 2);
            let (roots, single) = chain.split_last().unwrap();
            for element in single {
                assert_eq!(element.matches("BEGIN CERTIFICATE").count(), 1);
                assert!(element.ends_with("-----\n"), "{element:?}");
            }
            assert_eq!(roots.matches("BEGIN CERTIFICATE").count(), 2);
            assert!(roots.ends_with("-----\n") && !roots.ends_with("\n\n"));
        }
    }

    #[test]
    fn an_empty_bundle_is_left_out() {
        let chain = IstioCertificateResponse::from(issued(1, "\n")).cert_chain;
        assert_eq!(chain.len(), 2);
    }

    #[test]
    fn the_deprecated_answer_has_no_root() {
        let answer = CsrResponse::from(issued(2, &pem::encode(pem::CERTIFICATE, b"root")));
        assert!(answer.is_approved);
        let chain = String::from_utf8(answer.cert_chain).unwrap();
        assert_eq!(chain.matches("BEGIN CERTIFICATE").count(), 2);
    }
}
