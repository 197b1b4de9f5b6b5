//! Path validation of our own chains (RFC 5280, section 6.1, without policies and name constraints).
//!
//! Stricter than a relying party: the order is the file's, nothing is searched but the root, and an extension
//! that we could not honour (critical name constraints, for example) is refused rather than issued against.

use sealwright_identity::{Timestamp, Usage};

use crate::{
    certificate::{CertificateError, CertificateRef},
    oids,
    pem::PemError,
    spki::SpkiError,
    verify::VerifyError,
};

/// What a chain is good for.
pub(super) struct Verified {
    /// How many certificates at its beginning are not roots of the bundle.
    pub(super) intermediates: usize,
    pub(super) not_before: Timestamp,
    pub(super) not_after: Timestamp,
    pub(super) usages: Vec<Usage>,
}

/// Longer chains are a mistake, and would cost every client.
const MAX_CHAIN: usize = 8;

pub(super) fn verify(chain: &[Vec<u8>], roots: &[Vec<u8>], now: Timestamp) -> Result<Verified, ChainError> {
    if chain.len() > MAX_CHAIN {
        return Err(ChainError::TooLong { length: chain.len() });
    }
    let anchors = read_roots(roots)?;
    let is_root = |der: &Vec<u8>| roots.contains(der);
    let intermediates = chain.iter().position(is_root).unwrap_or(chain.len());
    if intermediates + 1 < chain.len() {
        return Err(ChainError::AfterRoot);
    }

    let mut path = Vec::with_capacity(chain.len() + 1);
    for (der, position) in chain.iter().zip(1..) {
        let unreadable = |source| ChainError::Certificate { position, source };
        let certificate = CertificateRef::parse(der).map_err(unreadable)?;
        check_authority(&certificate, position)?;
        check_time(&certificate, position, now)?;
        path.push(certificate);
    }
    let last = path.last().ok_or(ChainError::Empty)?;
    if intermediates == chain.len() {
        let anchor = find_anchor(last, &anchors, now)?;
        check_honoured(&anchor, 0)?;
        path.push(anchor);
    }
    for ((subject, issuer), position) in path.iter().zip(path.iter().skip(1)).zip(1..) {
        check_signed(subject, issuer, position)?;
    }
    check_path_lengths(&path)?;
    let (not_before, not_after) = path.iter().fold(
        (Timestamp::from_micros(i64::MIN), Timestamp::from_micros(i64::MAX)),
        |(from, to), certificate| {
            let validity = certificate.validity();
            (from.max(validity.not_before()), to.min(validity.not_after()))
        },
    );
    Ok(Verified {
        intermediates,
        not_before,
        not_after,
        usages: usages(&path)?,
    })
}

/// Roots must be CA certificates; their own signatures and dates count only for the one that is used.
fn read_roots(roots: &[Vec<u8>]) -> Result<Vec<CertificateRef<'_>>, ChainError> {
    let mut anchors = Vec::with_capacity(roots.len());
    for (der, position) in roots.iter().zip(1..) {
        let unreadable = |source| ChainError::Root { position, source };
        let root = CertificateRef::parse(der).map_err(unreadable)?;
        if !root.basic_constraints().map_err(unreadable)?.0 {
            return Err(ChainError::RootIsNoAuthority { position });
        }
        anchors.push(root);
    }
    Ok(anchors)
}

/// The root that signed the last certificate of the chain; of several, the one that ends last.
fn find_anchor<'a>(
    last: &CertificateRef<'_>,
    anchors: &[CertificateRef<'a>],
    now: Timestamp,
) -> Result<CertificateRef<'a>, ChainError> {
    let named: Vec<_> = anchors
        .iter()
        .filter(|root| root.subject_der() == last.issuer_der())
        .collect();
    if named.is_empty() {
        return Err(ChainError::NoRoot);
    }
    let mut error = ChainError::NoRoot;
    let mut best: Option<&CertificateRef<'a>> = None;
    for root in named {
        let spki = root.spki().map_err(|source| ChainError::RootKey { source });
        let outcome = spki.and_then(|spki| {
            last.verify_signed_by(&spki)
                .map_err(|source| ChainError::RootSignature { source })?;
            check_time(root, 0, now)
        });
        match outcome {
            Ok(()) if best.is_none_or(|b| b.validity().not_after() < root.validity().not_after()) => {
                best = Some(root);
            }
            Ok(()) => {}
            Err(found) => error = found,
        }
    }
    best.cloned().ok_or(error)
}

fn check_authority(certificate: &CertificateRef<'_>, position: usize) -> Result<(), ChainError> {
    let unreadable = |source| ChainError::Certificate { position, source };
    if !certificate.basic_constraints().map_err(unreadable)?.0 {
        return Err(ChainError::NoAuthority { position });
    }
    if !certificate.may_sign_certificates().map_err(unreadable)? {
        return Err(ChainError::MayNotSign { position });
    }
    check_honoured(certificate, position)
}

/// Relying parties apply a root's constraints too, whatever RFC 5280 leaves open there.
fn check_honoured(certificate: &CertificateRef<'_>, position: usize) -> Result<(), ChainError> {
    const HONOURED: &[&[u8]] = &[oids::BASIC_CONSTRAINTS, oids::KEY_USAGE, oids::EXTENDED_KEY_USAGE];
    if let Some(oid) = certificate.critical_beyond(HONOURED) {
        return Err(ChainError::Critical { position, oid });
    }
    Ok(())
}

fn check_time(certificate: &CertificateRef<'_>, position: usize, now: Timestamp) -> Result<(), ChainError> {
    let validity = certificate.validity();
    if validity.contains(now) {
        return Ok(());
    }
    Err(ChainError::NotValid {
        position,
        not_before: validity.not_before(),
        not_after: validity.not_after(),
    })
}

fn check_signed(
    subject: &CertificateRef<'_>,
    issuer: &CertificateRef<'_>,
    position: usize,
) -> Result<(), ChainError> {
    if subject.issuer_der() != issuer.subject_der() {
        return Err(ChainError::Order { position });
    }
    let key = |source| ChainError::Key {
        position: position + 1,
        source,
    };
    let spki = issuer.spki().map_err(key)?;
    subject
        .verify_signed_by(&spki)
        .map_err(|source| ChainError::Signature { position, source })
}

/// Section 6.1.4 (l) to (m): below each certificate, self-issued ones do not count.
fn check_path_lengths(path: &[CertificateRef<'_>]) -> Result<(), ChainError> {
    let mut below = 0_usize;
    for (certificate, position) in path.iter().zip(1..) {
        let unreadable = |source| ChainError::Certificate { position, source };
        let (_, allowed) = certificate.basic_constraints().map_err(unreadable)?;
        if allowed.is_some_and(|allowed| below > usize::from(allowed)) {
            return Err(ChainError::PathLength { position });
        }
        below += usize::from(!certificate.is_self_issued());
    }
    Ok(())
}

/// What every extendedKeyUsage on the way allows, as TLS stacks read it.
fn usages(path: &[CertificateRef<'_>]) -> Result<Vec<Usage>, ChainError> {
    let mut usages = vec![Usage::ServerAuth, Usage::ClientAuth];
    for (certificate, position) in path.iter().zip(1..) {
        let unreadable = |source| ChainError::Certificate { position, source };
        let Some(found) = certificate.extended_key_usage().map_err(unreadable)? else {
            continue;
        };
        usages.retain(|usage| {
            let oid = match usage {
                Usage::ServerAuth => oids::SERVER_AUTH,
                Usage::ClientAuth => oids::CLIENT_AUTH,
            };
            found.contains(&oid) || found.contains(&oids::ANY_EXTENDED_KEY_USAGE)
        });
    }
    Ok(usages)
}

/// Why a chain is refused. Positions count from 1, the issuing certificate; 0 is the root.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    /// The chain is not PEM.
    #[error("the certificate chain is not PEM certificates")]
    ChainPem(#[source] PemError),
    /// The bundle is not PEM.
    #[error("the trust bundle is not PEM certificates")]
    RootsPem(#[source] PemError),
    /// No certificate.
    #[error("the certificate chain is empty")]
    Empty,
    /// More certificates than any chain needs.
    #[error("the certificate chain has {length} certificates, more than 8")]
    TooLong {
        /// How many.
        length: usize,
    },
    /// Certificates after the root.
    #[error("the certificate chain goes on after a root of the trust bundle")]
    AfterRoot,
    /// A certificate of the chain that cannot be read.
    #[error("certificate {position} of the chain is not usable")]
    Certificate {
        /// Which.
        position: usize,
        /// Why.
        #[source]
        source: CertificateError,
    },
    /// A root that cannot be read.
    #[error("root {position} of the trust bundle is not usable")]
    Root {
        /// Which.
        position: usize,
        /// Why.
        #[source]
        source: CertificateError,
    },
    /// A root that is not a CA.
    #[error("root {position} of the trust bundle is not a CA certificate")]
    RootIsNoAuthority {
        /// Which.
        position: usize,
    },
    /// A certificate that is not a CA.
    #[error("certificate {position} of the chain is not a CA certificate")]
    NoAuthority {
        /// Which.
        position: usize,
    },
    /// A CA without keyCertSign.
    #[error("certificate {position} of the chain may not sign certificates: its keyUsage lacks keyCertSign")]
    MayNotSign {
        /// Which.
        position: usize,
    },
    /// A critical extension that we do not honour.
    #[error(
        "certificate {position} of the chain has the critical extension {oid}, which is not honoured here"
    )]
    Critical {
        /// Which.
        position: usize,
        /// The extension.
        oid: String,
    },
    /// A key of a kind that we do not know.
    #[error("the public key of certificate {position} of the chain is not supported")]
    Key {
        /// Which.
        position: usize,
        /// Why.
        #[source]
        source: SpkiError,
    },
    /// The root's key is of a kind that we do not know.
    #[error("the public key of the chain's root is not supported")]
    RootKey {
        /// Why.
        #[source]
        source: SpkiError,
    },
    /// The issuing key cannot verify.
    #[error("the issuing certificate's public key cannot be used")]
    IssuingKey(#[source] VerifyError),
    /// A key identifier of an impossible length.
    #[error("the issuing certificate's subjectKeyIdentifier does not have 1 to 64 octets")]
    KeyIdentifier,
    /// A certificate that was not issued by the next.
    #[error("certificate {position} of the chain was not issued by the one after it: the names differ")]
    Order {
        /// Which.
        position: usize,
    },
    /// A signature that is not right.
    #[error("certificate {position} of the chain is not signed by the one after it")]
    Signature {
        /// Which.
        position: usize,
        /// Why.
        #[source]
        source: VerifyError,
    },
    /// No root of that name.
    #[error("the chain does not end at a root of the trust bundle")]
    NoRoot,
    /// A root of that name that did not sign.
    #[error("the chain's last certificate is not signed by the root that it names")]
    RootSignature {
        /// Why.
        #[source]
        source: VerifyError,
    },
    /// More CA certificates below one than it allows.
    #[error("certificate {position} of the chain does not allow as many CA certificates below it")]
    PathLength {
        /// Which.
        position: usize,
    },
    /// Not valid now.
    #[error(
        "certificate {position} of the chain (0: the root) is valid from {not_before} to {not_after} only"
    )]
    NotValid {
        /// Which.
        position: usize,
        /// From.
        not_before: Timestamp,
        /// To.
        not_after: Timestamp,
    },
}
