//! The first of the four steps: a request is parsed again and held against the gate's own
//! ceiling and policy list. Only this makes a [`Checked`].
//!
//! Nothing of what the front says is believed: the request's signature is verified, the
//! to-be-signed bytes are decoded and built again, and the certificate's key must be the
//! request's. Each part is parsed once, here; the later steps only carry it on.

use std::sync::Arc;

use parking_lot::RwLock;
use prost::Message;
use sealwright_identity::{Digest, San, SerialNumber, SharedClock, Usage, Validity};
use sealwright_ledger::{CertificateKind, DecisionEntry, Denial, PolicyRef};
use sealwright_proto::gate::{Evidence, IssueRequest, RecordDenial, ServingRequest};
use sealwright_runtime::Chain;
use sealwright_x509::BACKDATING;
use sealwright_x509::ceiling;
use sealwright_x509::csr::{CsrLimits, VerifiedCsr};
use sealwright_x509::lint::lint_leaf;
use sealwright_x509::tbs::{LeafFields, LeafKind, LeafTbs};

use super::caller::{Callers, Case, Presented};
use super::evidence;
use super::policies::{Held, InForce, Tally};
use super::refused::Refused;
use crate::config::ServingConfig;
use crate::issuers::{Issuer, Issuers};

/// The largest request the gate looks at, in DER. The front's own limit is lower.
const CSR_LIMITS: CsrLimits = CsrLimits { max_bytes: 32 * 1024 };

/// A certificate that may be recorded and then signed.
#[derive(Debug)]
pub(super) struct Checked {
    pub(super) issuer: Arc<Issuer>,
    pub(super) tbs: Arc<LeafTbs>,
    pub(super) entry: DecisionEntry,
    /// What decided, held until the record is on disk; nothing did for our own server's certificate.
    pub(super) in_force: Option<Held>,
    /// What the record counts for.
    pub(super) tally: Tally,
}

/// A request that was refused, with the record of it.
#[derive(Debug)]
pub(super) struct Rejection {
    pub(super) refused: Refused,
    pub(super) entry: DecisionEntry,
}

/// The gate's own copy of what every issuer may grant.
#[derive(Debug)]
pub(super) struct Ceilings {
    issuers: RwLock<Issuers>,
    serving: Option<ServingConfig>,
    callers: Callers,
    clock: SharedClock,
}

/// What is wrong with a request: a stable word, and a sentence.
struct Fault {
    code: &'static str,
    refused: Refused,
}

impl Ceilings {
    pub(super) fn new(
        issuers: Issuers,
        serving: Option<ServingConfig>,
        callers: Callers,
        clock: SharedClock,
    ) -> Self {
        Self {
            issuers: RwLock::new(issuers),
            serving,
            callers,
            clock,
        }
    }

    pub(super) const fn callers(&self) -> &Callers {
        &self.callers
    }

    pub(super) fn issuers(&self) -> Issuers {
        self.issuers.read().clone()
    }

    /// From now on these hold; requests that were checked already go on with theirs.
    pub(super) fn replace(&self, issuers: Issuers) {
        *self.issuers.write() = issuers;
    }

    /// A workload's certificate, as the front prepared it.
    ///
    /// `profile_known` says whether the engine's description behind the evidence is stored,
    /// `presented` what is known of the caller's certificate, `in_force` what decides.
    pub(super) fn check(
        &self,
        request: IssueRequest,
        profile_known: bool,
        presented: &Presented,
        in_force: Held,
    ) -> Result<Checked, Box<Rejection>> {
        let IssueRequest {
            issuer: name,
            tbs: tbs_der,
            csr,
            evidence,
            credential,
        } = request;
        let evidence = evidence.unwrap_or_default();
        let issuers = self.issuers();
        let issuer = issuers.get(&name);
        let decoded = LeafTbs::decode(&tbs_der);
        let judged = match (issuer, &decoded) {
            (None, _) => Err(unknown_issuer(&name)),
            (_, Err(error)) => Err(invalid_as(error.code(), error)),
            _ if !profile_known => Err(denied("engine_profile", "the engine profile is not known")),
            (Some(issuer), Ok(tbs)) => self.judge(
                tbs,
                &csr,
                &Case {
                    evidence: &evidence,
                    credential: credential.as_ref(),
                    presented,
                    issuer,
                    issuers: &issuers,
                    now: self.clock.now(),
                },
                &in_force,
            ),
        };
        let fields = decoded.as_ref().ok().map(LeafTbs::fields);
        let entry = DecisionEntry {
            issuer: issuer.map_or(name, |issuer| issuer.name.to_string()),
            issuer_key: issuer.map_or_else(no_key, |issuer| issuer.chain.key_digest()),
            serial: fields.map(|fields| fields.serial.clone()),
            identities: match fields {
                Some(fields) => fields.sans.iter().map(plain).collect(),
                None => evidence::claimed_identities(&evidence),
            },
            policies: policy_refs(&evidence).unwrap_or_default(),
            csr: csr.to_vec(),
            tbs: tbs_der.to_vec(),
            evidence: evidence.encode_to_vec(),
            kind: CertificateKind::Workload,
            denial: None,
            renewal: presented.renewal().cloned(),
            set: in_force.reference(),
        };
        match (judged, issuer, decoded) {
            (Ok(()), Some(issuer), Ok(tbs)) => Ok(Checked {
                issuer: Arc::clone(issuer),
                tbs: Arc::new(tbs),
                tally: in_force.tally(&entry.identities, evidence.decision.as_ref()),
                entry,
                in_force: Some(in_force),
            }),
            (Err(fault), ..) => Err(fault.of(entry)),
            // Both were looked at above.
            (Ok(()), ..) => Err(unknown_issuer("").of(entry)),
        }
    }

    fn judge(&self, tbs: &LeafTbs, csr: &[u8], case: &Case<'_>, in_force: &InForce) -> Result<(), Fault> {
        let issuer = case.issuer;
        let fields = tbs.fields();
        if fields.kind != LeafKind::Workload {
            return Err(denied(
                "tbs_kind",
                "a serving certificate is not for the front to prepare",
            ));
        }
        self.inside(issuer, tbs)?;
        evidence::justify(case.evidence, issuer, fields, in_force, case.now)
            .map_err(|error| denied("evidence", Chain(&error)))?;
        self.callers
            .judge(case)
            .map_err(|error| denied(error.code(), Chain(&error)))?;
        // Last, because it is the dearest.
        let csr = verified(csr)?;
        if csr.spki_der() != fields.spki_der {
            return Err(denied(
                "csr_key_mismatch",
                "the certificate's key is not the request's",
            ));
        }
        Ok(())
    }

    fn inside(&self, issuer: &Issuer, tbs: &LeafTbs) -> Result<(), Fault> {
        let now = self.clock.now();
        ceiling::check(tbs.fields(), &issuer.ceiling, &issuer.chain, now)
            .map_err(|violation| denied(violation.code(), Chain(&violation)))?;
        linted(tbs, issuer)
    }

    /// The front's own certificate: everything but the key comes from the configuration.
    pub(super) fn serving(&self, request: &ServingRequest) -> Result<Checked, Box<Rejection>> {
        let issuers = self.issuers();
        let issuer = self
            .serving
            .as_ref()
            .and_then(|serving| issuers.get(&serving.issuer));
        let mut entry = DecisionEntry {
            issuer: issuer.map_or_else(String::new, |issuer| issuer.name.to_string()),
            issuer_key: issuer.map_or_else(no_key, |issuer| issuer.chain.key_digest()),
            serial: None,
            identities: Vec::new(),
            policies: Vec::new(),
            csr: request.csr.clone(),
            tbs: Vec::new(),
            evidence: Vec::new(),
            kind: CertificateKind::Serving,
            denial: None,
            renewal: None,
            set: None,
        };
        let (Some(issuer), Some(serving)) = (issuer, &self.serving) else {
            let fault = denied("no_serving", "no [gate.serving] section is configured");
            return Err(fault.of(entry));
        };
        match self.build_serving(issuer, serving, &request.csr) {
            Ok(tbs) => {
                entry.serial = Some(tbs.fields().serial.clone());
                entry.identities = tbs.fields().sans.iter().map(plain).collect();
                entry.tbs = tbs.as_der().to_vec();
                Ok(Checked {
                    issuer: Arc::clone(issuer),
                    tbs: Arc::new(tbs),
                    entry,
                    in_force: None,
                    tally: Tally::default(),
                })
            }
            Err(fault) => Err(fault.of(entry)),
        }
    }

    fn build_serving(&self, issuer: &Issuer, serving: &ServingConfig, csr: &[u8]) -> Result<LeafTbs, Fault> {
        let csr = verified(csr)?;
        let now = self.clock.now();
        let lifetime = serving.lifetime.get().min(issuer.ceiling.max_lifetime);
        let not_after = now.saturating_add(lifetime).min(issuer.chain.not_after());
        // Certificates know whole seconds only.
        let whole = |at: sealwright_identity::Timestamp| {
            sealwright_identity::Timestamp::from_unix_seconds(at.unix_seconds())
        };
        let not_before = now.saturating_sub(BACKDATING).max(issuer.chain.not_before());
        let validity = Validity::new(whole(not_before), whole(not_after))
            .map_err(|error| internal("validity", &error))?;
        let dns = serving.dns.iter().cloned().map(San::Dns);
        let ips = serving.ips.iter().copied().map(San::Ip);
        let fields = LeafFields {
            serial: SerialNumber::fresh(now).map_err(|error| internal("serial", &error))?,
            issuer_der: issuer.chain.issuer_name_der().to_vec(),
            validity,
            common_name: None,
            spki_der: csr.spki_der().to_vec(),
            sans: dns.chain(ips).collect(),
            usages: vec![Usage::ServerAuth],
            aki: issuer.chain.ski().to_vec(),
            signature_algorithm: issuer.chain.signature_algorithm(),
            kind: LeafKind::Serving,
        };
        ceiling::check_serving(&fields, &fields.sans, &issuer.ceiling, &issuer.chain, now)
            .map_err(|violation| denied(violation.code(), Chain(&violation)))?;
        let tbs = LeafTbs::from_fields(fields).map_err(|error| internal("tbs", &error))?;
        linted(&tbs, issuer)?;
        Ok(tbs)
    }

    /// The record of a denial that the front decided. It needs no issuer of ours: what was
    /// asked for in vain may be an issuer that does not exist.
    pub(super) fn denial(
        &self,
        request: RecordDenial,
        presented: &Presented,
        in_force: &InForce,
    ) -> Result<(DecisionEntry, Tally), Refused> {
        let RecordDenial {
            issuer: name,
            csr,
            evidence,
            denial,
        } = request;
        let missing = |what: &str| Refused::Invalid(format!("a denial without {what}"));
        let evidence = evidence.ok_or_else(|| missing("evidence"))?;
        let denial = denial.ok_or_else(|| missing("a reason"))?;
        let caller = evidence.caller.as_ref().ok_or_else(|| missing("a caller"))?;
        let issuers = self.issuers();
        let issuer = issuers.get(&name);
        let trust_domain = &issuers.default_issuer().ceiling.trust_domain;
        let identities = evidence::identities(caller, trust_domain)
            .map_err(|error| Refused::Invalid(error.to_string()))?;
        let policies = policy_refs(&evidence).map_err(|error| Refused::Invalid(error.to_string()))?;
        let identities: Vec<String> = identities.iter().map(ToString::to_string).collect();
        let tally = in_force.tally(&identities, evidence.decision.as_ref());
        let entry = DecisionEntry {
            issuer: issuer.map_or(name, |issuer| issuer.name.to_string()),
            issuer_key: issuer.map_or_else(no_key, |issuer| issuer.chain.key_digest()),
            serial: None,
            identities,
            policies,
            csr: csr.to_vec(),
            tbs: Vec::new(),
            evidence: evidence.encode_to_vec(),
            kind: CertificateKind::Workload,
            denial: Some(Denial {
                policy: denial.policy,
                code: denial.code,
                message: denial.message,
                field: (!denial.field.is_empty()).then_some(denial.field),
                hint: (!denial.hint.is_empty()).then_some(denial.hint),
            }),
            renewal: presented.renewal().cloned(),
            set: in_force.reference_to(evidence::set_number(Some(&evidence))),
        };
        Ok((entry, tally))
    }
}

/// Stands in records where there is no issuer.
fn no_key() -> Digest {
    Digest::from_bytes([0; 32])
}

impl Rejection {
    /// The refusal of what `entry` would have recorded.
    pub(super) fn new(code: &str, refused: Refused, mut entry: DecisionEntry) -> Box<Self> {
        entry.denial = Some(Denial {
            policy: "gate".into(),
            code: code.into(),
            message: refused.to_string(),
            field: None,
            hint: None,
        });
        Box::new(Self { refused, entry })
    }
}

impl Fault {
    fn of(self, entry: DecisionEntry) -> Box<Rejection> {
        Rejection::new(self.code, self.refused, entry)
    }
}

fn verified(csr: &[u8]) -> Result<VerifiedCsr, Fault> {
    VerifiedCsr::from_der(csr, &CSR_LIMITS).map_err(|error| invalid_as(error.code(), &error))
}

fn linted(tbs: &LeafTbs, issuer: &Issuer) -> Result<(), Fault> {
    lint_leaf(tbs, &issuer.chain).map_err(|findings| {
        let texts: Vec<_> = findings.iter().map(ToString::to_string).collect();
        denied("lint", texts.join("; "))
    })
}

fn unknown_issuer(name: &str) -> Fault {
    denied("unknown_issuer", format!("no issuer is called {name:?}"))
}

fn denied(code: &'static str, text: impl ToString) -> Fault {
    Fault {
        code,
        refused: Refused::Denied(text.to_string()),
    }
}

/// The front is built from the same source and checks the same: what it sends malformed is
/// an attempt, and told apart from a denial only by its word.
fn invalid_as(code: &'static str, error: &(dyn std::error::Error + 'static)) -> Fault {
    Fault {
        code,
        refused: Refused::Invalid(Chain(error).to_string()),
    }
}

fn internal(code: &'static str, error: &(dyn std::error::Error + 'static)) -> Fault {
    Fault {
        code,
        refused: Refused::Internal(Chain(error).to_string()),
    }
}

fn policy_refs(evidence: &Evidence) -> Result<Vec<PolicyRef>, evidence::EvidenceError> {
    let Some(decision) = &evidence.decision else {
        return Ok(Vec::new());
    };
    let verdicts = evidence::verdicts(decision)?;
    let refs = verdicts.into_iter().map(|verdict| PolicyRef {
        name: verdict.name,
        module: verdict.module,
        settings: verdict.settings,
        verdict: verdict.verdict,
        fuel: verdict.fuel,
    });
    Ok(refs.collect())
}

/// A name as `log list --identity` is asked for it.
fn plain(san: &San) -> String {
    match san {
        San::Uri(id) => id.to_string(),
        San::Dns(name) => name.to_string(),
        San::Ip(address) => address.to_string(),
    }
}
