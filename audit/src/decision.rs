//! One record: what was decided, executed again.

use std::sync::Arc;

use prost::Message as _;
use sealwright_identity::{Digest, Timestamp};
use sealwright_ledger::{BlobKind, CertificateKind, DecisionEntry, EntryKind, StartEntry};
use sealwright_policy_wasm::{
    Denial, Evaluation, Limits, LogLine, Narrowing, PolicyInput, Verdict, answer, code,
    evidence::{HostAnswers, denial, narrowing},
};
use sealwright_proto::gate as pb;
use sealwright_runtime::Chain;
use sealwright_x509::{CsrLimits, VerifiedCsr};

use crate::{
    agreement, asked, certificate,
    library::Library,
    problem::{Problem, Uncompared, shown},
    sets::InForce,
    summary::Outcome,
    terms,
};

const ABORTED: &str = "aborted";
/// More policies than one request is ever asked of.
const MAX_POLICIES: usize = 128;
const CSR_LIMITS: CsrLimits = CsrLimits { max_bytes: 32 * 1024 };

/// A decision, denial or refusal, with what was in force.
#[derive(Debug)]
pub(crate) struct Case {
    pub(crate) sequence: u64,
    pub(crate) kind: EntryKind,
    pub(crate) recorded_at: Timestamp,
    pub(crate) decision: DecisionEntry,
    pub(crate) start: Option<Arc<StartEntry>>,
    /// The id of the start's issuers.
    pub(crate) deployment: Option<Digest>,
    /// What decided; `None` in ledgers of before there were policy sets.
    pub(crate) in_force: Option<Arc<InForce>>,
}

/// What is to be said of a case.
#[derive(Debug)]
pub(crate) struct Judged {
    pub(crate) outcome: Outcome,
    pub(crate) problems: Vec<Problem>,
    pub(crate) uncompared: Vec<Uncompared>,
}

impl Judged {
    fn of(outcome: Outcome) -> Self {
        Self {
            outcome,
            problems: Vec::new(),
            uncompared: Vec::new(),
        }
    }

    pub(crate) fn found(&mut self, problem: Problem) {
        self.problems.push(problem);
    }

    fn with(mut self, problem: Problem) -> Self {
        self.found(problem);
        self
    }
}

/// How the verdicts ended.
enum Ended {
    /// All allow; what they leave in common.
    Allowed(Narrowing),
    Denied(Denial),
    Aborted,
    /// Here.
    Interrupted,
    /// A finding says why.
    Unknown,
}

/// Executes the record's decision again, and compares.
pub(crate) fn judge(library: &Library, case: &Case) -> Judged {
    let entry = &case.decision;
    if case.kind == EntryKind::Refused {
        return Judged::of(Outcome::Refused);
    }
    let issued = case.kind == EntryKind::Decision;
    let csr = VerifiedCsr::from_der(&entry.csr, &CSR_LIMITS)
        .map_err(|error| Problem::Csr(Chain(&error).to_string()));
    if entry.kind == CertificateKind::Serving {
        let judged = Judged::of(Outcome::Serving);
        return match csr.and_then(|csr| certificate::serving(case, &csr)) {
            Ok(()) => judged,
            Err(problem) => judged.with(problem),
        };
    }
    let evidence = match pb::Evidence::decode(entry.evidence.as_slice()) {
        Ok(evidence) => evidence,
        Err(error) => return Judged::of(Outcome::Differs).with(Problem::Evidence(error.to_string())),
    };
    let Some(decision) = evidence
        .decision
        .as_ref()
        .filter(|decision| !decision.policies.is_empty())
    else {
        return match (issued, entry.policies.is_empty()) {
            (false, true) => Judged::of(Outcome::Unasked),
            // A denial that was too large for a record: it says so.
            (false, false) if entry.evidence.is_empty() => {
                let mut judged = Judged::of(Outcome::Uncompared);
                judged.uncompared.push(Uncompared::Cut);
                judged
            }
            _ => Judged::of(Outcome::Differs).with(Problem::Evidence("no policy was asked".to_owned())),
        };
    };
    let csr = match csr {
        Ok(csr) => csr,
        Err(problem) => return Judged::of(Outcome::Differs).with(problem),
    };
    executed(library, case, &evidence, decision, &csr)
}

fn executed(
    library: &Library,
    case: &Case,
    evidence: &pb::Evidence,
    decision: &pb::Decision,
    csr: &VerifiedCsr,
) -> Judged {
    let mut judged = Judged::of(Outcome::Reproduced);
    if decision.policies.len() > MAX_POLICIES {
        return judged.with(Problem::Evidence(format!(
            "it has {} verdicts",
            decision.policies.len()
        )));
    }
    let input = match PolicyInput::from_canonical(&decision.input) {
        Ok(input) => input,
        Err(error) => return judged.with(Problem::Evidence(Chain(&error).to_string())),
    };
    let same = match profile(library, decision) {
        Ok(same) => same,
        Err(problem) => return judged.with(problem),
    };
    asked::check(case, evidence, decision, &mut judged);
    agreement::check(case, evidence, decision, &input, csr, &mut judged);
    let ended = execute(library, decision, &input, same, &mut judged);
    if !same {
        judged.outcome = Outcome::ReproducedElsewhere;
        judged.uncompared.push(Uncompared::Fuel);
    }
    conclude(library, case, decision, &input, csr, ended, &mut judged);
    judged
}

/// Whether this program's engine has the profile of the one that decided.
fn profile(library: &Library, decision: &pb::Decision) -> Result<bool, Problem> {
    let text = &decision.engine_profile_digest;
    let digest: Digest = text
        .parse()
        .map_err(|_| Problem::Evidence(format!("its engine profile is {}", shown(text))))?;
    if !library.has(BlobKind::EngineProfile, &digest) {
        return Err(Problem::Absent {
            what: "engine profile",
            digest: digest.to_string(),
        });
    }
    Ok(digest == library.engine().profile().digest)
}

fn execute(
    library: &Library,
    decision: &pb::Decision,
    input: &PolicyInput,
    same: bool,
    judged: &mut Judged,
) -> Ended {
    let mut granted = Narrowing::default();
    let last = decision.policies.len() - 1;
    for (at, recorded) in decision.policies.iter().enumerate() {
        if recorded.verdict == ABORTED {
            return Ended::Aborted;
        }
        let evaluation = match evaluate(library, recorded, input) {
            Ok((evaluation, log)) => {
                if evaluation.verdict == Verdict::Aborted {
                    return Ended::Interrupted;
                }
                if !same && stopped(&evaluation, recorded) {
                    judged.uncompared.push(Uncompared::Verdict);
                    return Ended::Interrupted;
                }
                compare(recorded, &evaluation, &log, same, judged);
                evaluation
            }
            Err(problem) => {
                judged.found(problem);
                return Ended::Unknown;
            }
        };
        let step = match (&evaluation.narrowing, evaluation.denial) {
            (Some(narrowing), _) => {
                answer::intersect(std::mem::take(&mut granted), narrowing, &recorded.name)
            }
            (None, Some(denial)) => Err(denial),
            (None, None) => return Ended::Interrupted,
        };
        match step {
            Ok(narrowing) => granted = narrowing,
            Err(_) if at < last => {
                judged.found(Problem::Outcome(format!(
                    "policies were asked after {} had not allowed",
                    shown(&recorded.name)
                )));
                return Ended::Unknown;
            }
            Err(denial) => return Ended::Denied(denial),
        }
    }
    Ended::Allowed(granted)
}

fn evaluate(
    library: &Library,
    recorded: &pb::PolicyVerdict,
    input: &PolicyInput,
) -> Result<(Evaluation, Vec<LogLine>), Problem> {
    let unreadable = |what: &str| {
        let policy = shown(&recorded.name);
        Problem::Evidence(format!("the {what} of policy {policy} cannot be read"))
    };
    let answers = host_answers(recorded).ok_or_else(|| unreadable("limits"))?;
    let module = recorded.module.parse().map_err(|_| unreadable("module digest"))?;
    let settings = recorded
        .settings
        .parse()
        .map_err(|_| unreadable("settings digest"))?;
    let policy = library.policy(&recorded.name, module, settings, answers.limits);
    match policy.as_ref() {
        Ok(policy) => Ok((policy.evaluate(input), answers.log)),
        Err(problem) => Err(problem.clone()),
    }
}

/// What the policy could use, by its record.
pub(crate) fn limits(recorded: &pb::PolicyVerdict) -> Option<Limits> {
    Some(host_answers(recorded)?.limits)
}

fn host_answers(recorded: &pb::PolicyVerdict) -> Option<HostAnswers> {
    serde_json::from_str(&recorded.host_answers).ok()
}

/// Whether one of both was stopped by a limit that another engine counts in another way.
fn stopped(evaluation: &Evaluation, recorded: &pb::PolicyVerdict) -> bool {
    let by_limit = |code: &str| [code::POLICY_FUEL, code::POLICY_TRAP].contains(&code);
    evaluation.verdict.as_str() != recorded.verdict
        && (evaluation
            .denial
            .as_ref()
            .is_some_and(|denial| by_limit(&denial.code))
            || recorded
                .denial
                .as_ref()
                .is_some_and(|denial| by_limit(&denial.code)))
}

fn compare(
    recorded: &pb::PolicyVerdict,
    evaluation: &Evaluation,
    log: &[LogLine],
    same: bool,
    judged: &mut Judged,
) {
    let policy = || shown(&recorded.name);
    if evaluation.verdict.as_str() != recorded.verdict {
        let replayed = match &evaluation.denial {
            Some(denial) => format!("{} ({})", evaluation.verdict, denial.code),
            None => evaluation.verdict.to_string(),
        };
        judged.found(Problem::Verdict {
            policy: policy(),
            recorded: shown(&recorded.verdict),
            replayed,
        });
        return;
    }
    let narrowed = evaluation.narrowing.as_ref().map(narrowing);
    if narrowed != recorded.narrowing {
        judged.found(Problem::Narrowing {
            policy: policy(),
            recorded: shown(&format!("{:?}", recorded.narrowing)),
            replayed: shown(&format!("{narrowed:?}")),
        });
    }
    if !same {
        return;
    }
    if evaluation.fuel != recorded.fuel {
        judged.found(Problem::Fuel {
            policy: policy(),
            recorded: recorded.fuel,
            replayed: evaluation.fuel,
        });
    }
    let denied = evaluation.denial.as_ref().map(denial);
    if denied != recorded.denial {
        judged.found(Problem::Answer {
            policy: policy(),
            what: "the denial",
            recorded: shown(&format!("{:?}", recorded.denial)),
            replayed: shown(&format!("{denied:?}")),
        });
    }
    if evaluation.log != log {
        judged.found(Problem::Answer {
            policy: policy(),
            what: "the log",
            recorded: shown(&format!("{log:?}")),
            replayed: shown(&format!("{:?}", evaluation.log)),
        });
    }
}

/// Holds what became of the request against how the verdicts ended.
fn conclude(
    library: &Library,
    case: &Case,
    decision: &pb::Decision,
    input: &PolicyInput,
    csr: &VerifiedCsr,
    ended: Ended,
    judged: &mut Judged,
) {
    let issued = case.kind == EntryKind::Decision;
    let wrong = |what: &str| Problem::Outcome(what.to_owned());
    match ended {
        Ended::Unknown => {}
        Ended::Interrupted => {
            judged.outcome = Outcome::Uncompared;
            judged.uncompared.push(Uncompared::Execution);
        }
        Ended::Aborted if issued => judged.found(wrong("it was issued though a policy was aborted")),
        Ended::Aborted => judged.outcome = Outcome::Aborted,
        Ended::Denied(_) if issued => judged.found(wrong("it was issued though a policy does not allow it")),
        Ended::Denied(denied) => {
            let code = case.decision.denial.as_ref().map(|denial| denial.code.as_str());
            if code != Some(denied.code.as_str()) {
                judged.found(wrong(&format!(
                    "the code is {}, and {} was due",
                    shown(code.unwrap_or_default()),
                    denied.code
                )));
            }
        }
        Ended::Allowed(allowed) => {
            let due = Some(narrowing(&allowed));
            if decision.granted != due {
                judged.found(Problem::Narrowing {
                    policy: "all together".to_owned(),
                    recorded: shown(&format!("{:?}", decision.granted)),
                    replayed: shown(&format!("{due:?}")),
                });
            }
            match (terms::granted(input, &allowed), issued) {
                (Ok(terms), true) => certificate::rebuild(library, case, csr, terms, judged),
                (Ok(_), false) => judged.found(wrong("it was denied though all policies allow it")),
                (Err(what), true) => judged.found(wrong(&format!("it was issued though {what}"))),
                (Err(_), false) => {}
            }
        }
    }
}
