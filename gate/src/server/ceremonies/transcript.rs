//! A transcript in a folder: verified whole, and held against the issuer that names it.

use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;

use sealwright_ceremony::{Error, Files, Outcome, VerifiedCertificate, verify_files};
use sealwright_identity::Digest;
use sealwright_ledger::CeremonyEntry;
use sealwright_statement::Signed;
use sealwright_statement::policy::Roster;
use sealwright_x509::issuer::IssuerChain;

use super::error::{CeremoniesError, NoTrail};
use crate::issuers::Issuer;

/// The sums of a transcript are no longer.
const MAX_SUMS: u64 = 1 << 20;

/// A transcript that holds for an issuer. The entry's blob is the archive's, once it is stored.
pub(super) struct Verified {
    pub(super) archive: Vec<u8>,
    pub(super) entry: CeremonyEntry,
    pub(super) approvers: Option<Signed<Roster>>,
}

/// Verifies the transcript in `folder` for an issuer, on a thread that may block.
pub(super) async fn verify(
    issuer: &Arc<Issuer>,
    folder: &Path,
    rosters: &[Digest],
) -> Result<Result<Verified, NoTrail>, CeremoniesError> {
    let (issuer, folder, rosters) = (Arc::clone(issuer), folder.to_owned(), rosters.to_vec());
    let verified = tokio::task::spawn_blocking(move || judge(&issuer, &folder, &rosters));
    verified
        .await
        .map_err(|error| CeremoniesError::Runtime(std::io::Error::other(error)))
}

/// The digest that names the transcript which lies in a folder, if one does; nothing of it is verified.
pub(super) fn name(folder: &Path) -> Option<Digest> {
    let mut sums = Vec::new();
    let file = std::fs::File::open(folder.join("SHA256SUMS")).ok()?;
    file.take(MAX_SUMS).read_to_end(&mut sums).ok()?;
    Some(Digest::of(&sums))
}

fn judge(issuer: &Issuer, folder: &Path, rosters: &[Digest]) -> Result<Verified, NoTrail> {
    let name = || issuer.name.to_string();
    let folder = || folder.to_owned();
    let does_not_hold = |source: Error| NoTrail::DoesNotHold {
        issuer: name(),
        folder: folder(),
        source: Arc::new(source),
    };
    if rosters.is_empty() {
        return Err(NoTrail::NoRoster { folder: folder() });
    }
    // From here on only what was read now counts, whatever becomes of the folder.
    let files = Files::read(&folder()).map_err(does_not_hold)?;
    let verified = verify_files(&files).map_err(does_not_hold)?;
    if !rosters.contains(&verified.roster) {
        return Err(NoTrail::Roster {
            issuer: name(),
            folder: folder(),
            found: verified.roster,
        });
    }
    if verified.outcome != Outcome::Finished {
        return Err(NoTrail::GivenUp {
            issuer: name(),
            folder: folder(),
            outcome: verified.outcome.as_str(),
        });
    }
    if verified.rehearsal && !issuer.rehearsal {
        return Err(NoTrail::Rehearsal {
            issuer: name(),
            folder: folder(),
        });
    }
    let key = issuer.chain.key_digest();
    let of_key: Vec<_> = verified
        .certificates
        .iter()
        .filter(|certificate| certificate.key == key)
        .collect();
    let Some(first) = of_key.first() else {
        return Err(NoTrail::OtherKey {
            issuer: name(),
            folder: folder(),
            key,
        });
    };
    if !of_key
        .iter()
        .any(|certificate| is_chain(certificate, &issuer.chain))
    {
        return Err(NoTrail::OtherChain {
            issuer: name(),
            folder: folder(),
            certificate: first.name.to_string(),
        });
    }
    Ok(Verified {
        approvers: verified.approvers,
        archive: files.archive().map_err(does_not_hold)?,
        entry: CeremonyEntry {
            issuer: name(),
            key,
            transcript: verified.digest,
            roster: verified.roster,
            plan: verified.plan,
            ceremony: verified.ceremony.to_string(),
            rehearsal: verified.rehearsal,
            signed_by: verified.signed_by.into_keys().collect(),
            blob: Digest::of(b""),
        },
    })
}

/// Whether an issuer's chain is that of a certificate of the ceremony, up to a root of the issuer's bundle.
fn is_chain(certificate: &VerifiedCertificate, chain: &IssuerChain) -> bool {
    let Some((root, between)) = certificate.parents.split_last() else {
        // A root that issues by itself.
        let own = chain
            .intermediates_der()
            .first()
            .is_none_or(|der| *der == certificate.der);
        return own && chain.roots_der().contains(&certificate.der);
    };
    let due = std::iter::once(&certificate.der).chain(between);
    chain.roots_der().contains(root) && chain.intermediates_der().iter().eq(due)
}
