//! Whether the parts of a record say the same: the input that the policies saw, the request, the caller, the record.
//!
//! The input is the front's word. Here every part of it is computed again that another part of the record gives.

use std::collections::BTreeMap;

use sealwright_identity::Timestamp;
use sealwright_ledger::EntryKind;
use sealwright_policy_wasm::{CsrFacts, KubernetesFacts, PolicyInput, WIT_VERSION};
use sealwright_proto::gate as pb;
use sealwright_x509::{CertificateRef, VerifiedCsr};
use serde_json::Value;

use crate::{
    decision::{Case, Judged},
    problem::{Problem, shown},
    terms,
};

/// How far the decision's time may lie from the record's.
const MAX_APART_MICROS: i64 = 5 * 60 * 1_000_000;
/// Members of a request's metadata that are no claims.
const NO_CLAIMS: [&str; 2] = ["CertSigner", "ImpersonatedIdentity"];
/// A claim that the request's headers may bring.
const CLUSTER_CLAIM: &str = "clusterid";
/// Set for a caller that acts for another: its own identity.
const ON_BEHALF: &str = "impersonator";

/// Every part of the input that can be computed again.
pub(crate) fn check(
    case: &Case,
    evidence: &pb::Evidence,
    decision: &pb::Decision,
    input: &PolicyInput,
    csr: &VerifiedCsr,
    judged: &mut Judged,
) {
    if input.csr != facts(csr) {
        judged.found(Problem::Disagrees {
            what: "what the policies were told of the request",
            recorded: shown(&format!("{:?}", input.csr)),
            expected: shown(&format!("{:?}", facts(csr))),
        });
    }
    let mut same = |what, recorded: &str, expected: &str| {
        if recorded != expected {
            judged.found(Problem::Disagrees {
                what,
                recorded: shown(recorded),
                expected: shown(expected),
            });
        }
    };
    same("the policies' world", &decision.wit_version, WIT_VERSION);
    same(
        "the issuer that the policies were told",
        &input.issuer.name,
        &case.decision.issuer,
    );
    let decided_at = Timestamp::from_micros(decision.decided_at_micros);
    if input.decided_at != decided_at.unix_seconds() {
        same(
            "the time that the policies were told",
            &input.decided_at.to_string(),
            &decided_at.unix_seconds().to_string(),
        );
    }
    let apart = decision.decided_at_micros.abs_diff(case.recorded_at.micros());
    if apart > MAX_APART_MICROS.unsigned_abs() {
        same(
            "the time of the decision",
            &decided_at.to_string(),
            &case.recorded_at.to_string(),
        );
    }
    let offered = terms::offered(input);
    if input.ceiling.names != offered {
        same(
            "the list of names on offer",
            &format!("{:?}", input.ceiling.names),
            &format!("{offered:?}"),
        );
    }
    let request = evidence.request.clone().unwrap_or_default();
    let asked = match u64::try_from(request.requested_seconds) {
        Ok(0) => input.ceiling.default_lifetime_seconds,
        Ok(seconds) => seconds,
        Err(_) => u64::MAX,
    };
    if input.request.lifetime_seconds != asked {
        same(
            "the lifetime that the policies were told",
            &input.request.lifetime_seconds.to_string(),
            &asked.to_string(),
        );
    }
    match claims(&request.metadata) {
        Some(claims) => {
            let mut told = input.caller.claims.clone();
            // It may have come with the headers, which no record has.
            if !claims.contains_key(CLUSTER_CLAIM) {
                told.remove(CLUSTER_CLAIM);
            }
            if told != claims {
                same(
                    "the claims that the policies were told",
                    &format!("{told:?}"),
                    &format!("{claims:?}"),
                );
            }
        }
        None => same("the request's metadata", &request.metadata, "a JSON object"),
    }
    caller(case, evidence.caller.as_ref(), input, &mut same);
}

fn caller(
    case: &Case,
    caller: Option<&pb::Caller>,
    input: &PolicyInput,
    same: &mut impl FnMut(&'static str, &str, &str),
) {
    let Some(caller) = caller else {
        return same("the caller", "absent", "there");
    };
    let told = &input.caller;
    same("the caller's source", &told.source, &caller.source);
    same(
        "the caller's authenticator",
        &told.authenticator,
        &caller.authenticator,
    );
    same(
        "the caller's cluster",
        told.cluster.as_deref().unwrap_or_default(),
        &caller.cluster,
    );
    if told.identities != caller.identities {
        same(
            "the list of the caller's identities",
            &format!("{:?}", told.identities),
            &format!("{:?}", caller.identities),
        );
    }
    let kubernetes = caller.kubernetes.as_ref().map(pod);
    if told.kubernetes != kubernetes {
        same(
            "the caller's pod",
            &format!("{:?}", told.kubernetes),
            &format!("{kubernetes:?}"),
        );
    }
    let renewal = case.decision.renewal.as_ref();
    let previous = renewal.map(|renewal| renewal.previous.to_string());
    let first = renewal.map(|renewal| renewal.first_authenticated_at.unix_seconds());
    if told.previous_serial != previous || told.first_authenticated_at != first {
        same(
            "the certificate that the caller renews",
            &format!("{:?}", (&told.previous_serial, told.first_authenticated_at)),
            &format!("{:?}", (previous.as_ref(), first)),
        );
    }
    if let Some(previous) = &previous {
        let leaf = caller.client_chain.first().map(|der| CertificateRef::parse(der));
        let presented = match leaf {
            Some(Ok(leaf)) => leaf.serial().to_string(),
            _ => "none".to_owned(),
        };
        same("the certificate that the caller renews", previous, &presented);
    }
    token(caller, input, same);
    // A certificate's name is the caller's own, whatever else it may have.
    if case.kind == EntryKind::Decision
        && let Some(name) = case
            .decision
            .identities
            .iter()
            .find(|name| name.starts_with("spiffe://"))
        && !caller.identities.contains(name)
    {
        same(
            "the certificate's identity",
            name,
            &format!("{:?}", caller.identities),
        );
    }
}

/// The service account in the token's claims, the pod's facts and the identity are one.
fn token(caller: &pb::Caller, input: &PolicyInput, same: &mut impl FnMut(&'static str, &str, &str)) {
    let Some(facts) = &caller.kubernetes else { return };
    let account = format!("{}/{}", facts.namespace, facts.service_account);
    if !caller.token_claims.is_empty() {
        let claims: Value = serde_json::from_str(&caller.token_claims).unwrap_or_default();
        let subject = claims.get("sub").and_then(Value::as_str).unwrap_or_default();
        let due = format!("system:serviceaccount:{}", account.replacen('/', ":", 1));
        same("the subject of the caller's token", subject, &due);
    }
    let own = format!(
        "spiffe://{}/ns/{}/sa/{}",
        input.issuer.trust_domain, facts.namespace, facts.service_account
    );
    let acting = match input.caller.attributes.get(ON_BEHALF) {
        Some(impersonator) => impersonator.as_str(),
        None => caller.identities.first().map_or("", String::as_str),
    };
    same("the caller's own identity", acting, &own);
}

/// Every member but the known ones, as text.
fn claims(metadata: &str) -> Option<BTreeMap<String, String>> {
    if metadata.is_empty() {
        return Some(BTreeMap::new());
    }
    let Ok(Value::Object(members)) = serde_json::from_str(metadata) else {
        return None;
    };
    let claims = members
        .into_iter()
        .filter(|(name, _)| !NO_CLAIMS.contains(&name.as_str()))
        .map(|(name, value)| match value {
            Value::String(text) => Some((name, text)),
            other => Some((name, serde_json_canonicalizer::to_string(&other).ok()?)),
        });
    claims.collect()
}

fn pod(facts: &pb::KubernetesFacts) -> KubernetesFacts {
    let some = |text: &String| (!text.is_empty()).then(|| text.clone());
    KubernetesFacts {
        namespace: facts.namespace.clone(),
        node_name: some(&facts.node_name),
        node_uid: some(&facts.node_uid),
        pod_name: some(&facts.pod_name),
        pod_uid: some(&facts.pod_uid),
        service_account: facts.service_account.clone(),
    }
}

/// What the policies must have been told of a request.
fn facts(csr: &VerifiedCsr) -> CsrFacts {
    let facts = csr.facts();
    CsrFacts {
        common_name: facts.common_name.clone(),
        dns: facts.dns.clone(),
        emails: facts.emails.clone(),
        extensions: facts.extensions.clone(),
        ips: facts.ips.clone(),
        is_ca: facts.is_ca,
        key_type: facts.key_type,
        organizations: facts.organizations.clone(),
        signature_algorithm: facts.signature_algorithm.clone(),
        spki_digest: facts.spki_digest,
        uris: facts.uris.clone(),
    }
}
