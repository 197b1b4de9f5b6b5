//! The certificate: its bytes built again from what was granted, its signature verified up to a trust anchor.

use sealwright_identity::{Digest, San, Timestamp, Validity};
use sealwright_ledger::{SignedPart, StartEntry};
use sealwright_runtime::Chain;
use sealwright_x509::{
    BACKDATING, CertificateRef, IssuerChain, LeafFields, LeafKind, LeafTbs, VerifiedCsr,
    ceiling::{NOT_BEFORE_FUTURE, NOT_BEFORE_PAST},
    tbs::{self, common_name_of},
};

use crate::{
    decision::{Case, Judged},
    library::Library,
    problem::{Problem, Uncompared, shown},
    terms::Terms,
};

/// In the details of a start: which code builds certificates' bytes.
const BUILDER: &str = "builder";
/// Before an issuer's name: whether its leaves have a common name.
const COMMON_NAME: &str = "common_name.";

/// A certificate that was recorded.
#[derive(Debug)]
pub(crate) struct Certificate {
    /// Sequence of the decision.
    pub(crate) decision: u64,
    pub(crate) decided_at: Timestamp,
    pub(crate) issuer: String,
    pub(crate) issuer_key: Digest,
    pub(crate) tbs: Vec<u8>,
    pub(crate) part: SignedPart,
    pub(crate) start: Option<std::sync::Arc<StartEntry>>,
}

impl Certificate {
    /// Verifies the signature with the issuer's key, and that with the anchors.
    pub(crate) fn verify(&self, library: &Library) -> Result<(), Problem> {
        let chain = library.issuer(
            &self.issuer,
            self.issuer_key,
            self.start.as_deref(),
            self.decided_at,
        )?;
        let chain = chain.as_ref().as_ref().map_err(Clone::clone)?;
        chain
            .check_validity(self.decided_at)
            .map_err(|error| Problem::Issuer(Chain(&error).to_string()))?;
        let broken = |error: &(dyn std::error::Error + 'static)| Problem::Signature(Chain(error).to_string());
        let der = self
            .part
            .certificate(&self.tbs)
            .ok_or_else(|| Problem::Signature("it is not made of what was decided".to_owned()))?;
        let certificate = CertificateRef::parse(&der).map_err(|error| broken(&error))?;
        chain
            .verify(certificate.tbs_der(), certificate.signature())
            .map_err(|error| broken(&error))
    }
}

/// Holds the recorded bytes against those that the grant gives.
pub(crate) fn rebuild(library: &Library, case: &Case, csr: &VerifiedCsr, terms: Terms, judged: &mut Judged) {
    let entry = &case.decision;
    let chain = library.issuer(
        &entry.issuer,
        entry.issuer_key,
        case.start.as_deref(),
        case.recorded_at,
    );
    // What is wrong with the chain is said of the certificate's signature.
    let Ok(Ok(chain)) = chain.as_ref().map(|chain| &**chain) else {
        judged.uncompared.push(Uncompared::Tbs);
        return;
    };
    match compare(case, chain, csr, terms) {
        Ok(()) => {}
        // Another builder may have another profile: then nobody can say.
        Err(problem) if builder(case.start.as_deref()).is_none_or(|builder| builder == tbs::BUILDER) => {
            judged.found(problem);
        }
        Err(_) => judged.uncompared.push(Uncompared::Tbs),
    }
}

fn builder(start: Option<&StartEntry>) -> Option<&str> {
    start?.details.get(BUILDER).map(String::as_str)
}

fn compare(case: &Case, chain: &IssuerChain, csr: &VerifiedCsr, terms: Terms) -> Result<(), Problem> {
    let entry = &case.decision;
    let recorded = LeafTbs::decode(&entry.tbs).map_err(|error| Problem::Tbs(Chain(&error).to_string()))?;
    let recorded = recorded.fields();
    let not_before = recorded.validity.not_before();
    let earliest = case
        .recorded_at
        .saturating_sub(NOT_BEFORE_PAST)
        .truncated_to_seconds();
    if not_before < earliest || not_before > case.recorded_at.saturating_add(NOT_BEFORE_FUTURE) {
        return Err(Problem::Tbs(format!(
            "it is valid from {not_before}, and was recorded at {}",
            case.recorded_at
        )));
    }
    let serial = entry
        .serial
        .clone()
        .ok_or_else(|| Problem::Tbs("it has no serial".to_owned()))?;
    let not_after = not_before
        .saturating_add(BACKDATING)
        .saturating_add(terms.lifetime)
        .min(chain.not_after());
    let fields = LeafFields {
        serial,
        issuer_der: chain.issuer_name_der().to_vec(),
        validity: Validity::new(not_before, not_after)
            .map_err(|error| Problem::Tbs(Chain(&error).to_string()))?,
        common_name: common_name(case, csr, &terms.names, recorded),
        spki_der: csr.spki_der().to_vec(),
        sans: terms.names,
        usages: terms.usages,
        aki: chain.ski().to_vec(),
        signature_algorithm: chain.signature_algorithm(),
        kind: LeafKind::Workload,
    };
    if let Some(field) = difference(recorded, &fields) {
        return Err(Problem::Tbs(field));
    }
    let built = LeafTbs::from_fields(fields).map_err(|error| Problem::Tbs(Chain(&error).to_string()))?;
    if built.as_der() != entry.tbs {
        return Err(Problem::Tbs("its bytes are not those of its fields".to_owned()));
    }
    Ok(())
}

/// As the start says; where it does not say, as the certificate has it, if it may.
fn common_name(case: &Case, csr: &VerifiedCsr, names: &[San], recorded: &LeafFields) -> Option<String> {
    let first = || {
        csr.facts().common_name.as_ref()?;
        names.first().and_then(common_name_of)
    };
    let key = format!("{COMMON_NAME}{}", case.decision.issuer);
    let profile = case.start.as_deref().and_then(|start| start.details.get(&key));
    match profile.map(String::as_str) {
        Some("first-name") => first(),
        Some(_) => None,
        None if recorded.common_name.is_some() => first(),
        None => None,
    }
}

/// The first field that differs, in words.
fn difference(recorded: &LeafFields, due: &LeafFields) -> Option<String> {
    let said = |what: &str, recorded: String, due: String| {
        Some(format!(
            "the {what} is {}, and should be {}",
            shown(&recorded),
            shown(&due)
        ))
    };
    if recorded.serial != due.serial {
        return said("serial", recorded.serial.to_string(), due.serial.to_string());
    }
    if recorded.sans != due.sans {
        return said(
            "list of names",
            format!("{:?}", recorded.sans),
            format!("{:?}", due.sans),
        );
    }
    if recorded.usages != due.usages {
        return said(
            "list of usages",
            format!("{:?}", recorded.usages),
            format!("{:?}", due.usages),
        );
    }
    let (from, to) = (recorded.validity.not_after(), due.validity.not_after());
    if from != to {
        return said("end", from.to_string(), to.to_string());
    }
    if recorded.common_name != due.common_name {
        return said(
            "common name",
            format!("{:?}", recorded.common_name),
            format!("{:?}", due.common_name),
        );
    }
    if recorded.spki_der != due.spki_der {
        return Some("the key is not the request's".to_owned());
    }
    (recorded.issuer_der != due.issuer_der
        || recorded.aki != due.aki
        || recorded.signature_algorithm != due.signature_algorithm
        || recorded.kind != due.kind)
        .then(|| "it is not of its issuer".to_owned())
}

/// A certificate of the signer's own server: no policy decides it, and configuration names its names.
pub(crate) fn serving(case: &Case, csr: &VerifiedCsr) -> Result<(), Problem> {
    let recorded =
        LeafTbs::decode(&case.decision.tbs).map_err(|error| Problem::Tbs(Chain(&error).to_string()))?;
    let fields = recorded.fields();
    if fields.kind != LeafKind::Serving {
        return Err(Problem::Tbs(
            "it is recorded as a serving certificate and is none".to_owned(),
        ));
    }
    if fields.spki_der != csr.spki_der() {
        return Err(Problem::Tbs("the key is not the request's".to_owned()));
    }
    if Some(&fields.serial) != case.decision.serial.as_ref() {
        return Err(Problem::Tbs("the serial is not the record's".to_owned()));
    }
    Ok(())
}
