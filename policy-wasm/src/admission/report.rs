//! What admission found, as text that is the same wherever it was found.

use sealwright_identity::Digest;
use serde::{Deserialize, Serialize};

use super::{CORPUS_VERSION, Submission, cases::Case, corpus_digest};
use crate::{
    Description, EngineProfile, Evaluation, Limits, Vector, Verdict, WIT_VERSION, code, decision::tame,
    settings, vectors::compare,
};

/// Checks, as findings name them.
pub(super) const MODULE: &str = "module";
pub(super) const SETTINGS: &str = "settings";
pub(super) const VECTORS: &str = "vectors";
pub(super) const CORPUS: &str = "corpus";
pub(super) const NAMES: &str = "names";
pub(super) const REPEATABLE: &str = "repeatable";

/// The longest message of a finding, in bytes.
pub(super) const MAX_MESSAGE: usize = 512;
/// Findings of a kind that are told; the others are counted.
const MAX_FINDINGS: usize = 64;

/// The codes of denials that mean that the policy failed.
const FAILURES: [&str; 4] = [
    code::POLICY_TRAP,
    code::POLICY_FUEL,
    code::POLICY_OUTPUT,
    code::POLICY_LOG,
];
/// Those that mean that it said something that nobody can act on. They deny too.
const MISTAKES: [&str; 2] = [code::POLICY_WIDENS, code::POLICY_DENIED];

/// What admission found. Its canonical text is what people sign.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Report {
    /// Whether nothing speaks against the module.
    pub admitted: bool,
    /// What it did on hostile requests; absent when it was not asked.
    pub corpus: Option<CorpusReport>,
    /// What it says about itself; absent when it cannot.
    pub described: Option<Described>,
    /// SHA-256 of the engine's profile: reports are comparable under one profile.
    pub engine_profile: Digest,
    /// The limits that it was judged under.
    pub limits: Limits,
    /// SHA-256 of the component.
    pub module: Digest,
    /// Its size.
    pub module_bytes: u64,
    /// Whether a name more turned a refusal into a grant.
    pub names: Option<NamesReport>,
    /// What speaks against it.
    pub refusals: Vec<Finding>,
    /// Refusals beyond those told.
    pub refusals_untold: u64,
    /// Whether every answer was asked for again and was the same; not asked where something else speaks
    /// against it.
    pub repeated: bool,
    /// The form of this text.
    pub schema: String,
    /// SHA-256 of the settings' RFC 8785 JSON; absent where they have none.
    pub settings: Option<Digest>,
    /// The author's vectors, by name.
    pub vectors: Vec<VectorReport>,
    /// What people should know before they approve it.
    pub warnings: Vec<Finding>,
    /// Warnings beyond those told.
    pub warnings_untold: u64,
    /// The world that it was judged for.
    pub wit: String,
}

/// What a module says about itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Described {
    /// Its name.
    pub name: String,
    /// SHA-256 of its settings' JSON Schema, as RFC 8785 JSON.
    pub settings_schema: Digest,
    /// Its version.
    pub version: String,
}

/// One vector of the author.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VectorReport {
    /// What it means ([`Vector::digest`]).
    pub digest: Digest,
    /// Fuel of the decision.
    pub fuel: u64,
    /// Its name.
    pub name: String,
    /// Whether the expected verdict came out.
    pub passed: bool,
    /// The verdict.
    pub verdict: Verdict,
}

/// What the module did on hostile requests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CorpusReport {
    /// How many it allowed.
    pub allowed: u64,
    /// SHA-256 of every answer in order: names of the requests, verdicts, codes, fuel.
    pub answers: Digest,
    /// What the corpus is ([`corpus_digest`]).
    pub digest: Option<Digest>,
    /// The most fuel of one decision.
    pub most_fuel: u64,
    /// The request that took it.
    pub most_fuel_on: String,
    /// Requests.
    pub requests: u64,
    /// Its version.
    pub version: u32,
}

/// Whether a name more turned a refusal into a grant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NamesReport {
    /// Requests that were allowed with it.
    pub allowed: u64,
    /// Refused requests that were tried again.
    pub tried: u64,
}

/// Something that people should know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Finding {
    /// `module`, `settings`, `vectors`, `corpus`, `names` or `repeatable`.
    pub check: String,
    /// One line.
    pub message: String,
    /// The request or vector; empty for the module as a whole.
    pub subject: String,
}

impl Finding {
    pub(super) fn new(check: &str, subject: &str, message: impl Into<String>) -> Self {
        Self {
            check: check.to_owned(),
            message: tame(&message.into(), MAX_MESSAGE),
            subject: tame(subject, MAX_MESSAGE),
        }
    }
}

impl From<&Description> for Described {
    fn from(description: &Description) -> Self {
        Self {
            name: description.name.clone(),
            settings_schema: Digest::of(settings::canonical(&description.settings_schema).as_bytes()),
            version: description.version.clone(),
        }
    }
}

impl Report {
    /// The form that [`Report::schema`] names.
    pub const SCHEMA: &'static str = "sealwright.admission-report/1";

    pub(super) fn new(profile: &EngineProfile, submission: &Submission) -> Self {
        let settings = settings::canonical_settings(&submission.settings).ok();
        Self {
            admitted: false,
            corpus: None,
            described: None,
            engine_profile: profile.digest,
            limits: submission.limits,
            module: Digest::of(&submission.component),
            module_bytes: submission.component.len() as u64,
            names: None,
            refusals: Vec::new(),
            refusals_untold: 0,
            repeated: false,
            schema: Self::SCHEMA.to_owned(),
            settings: settings.map(|text| Digest::of(text.as_bytes())),
            vectors: Vec::new(),
            warnings: Vec::new(),
            warnings_untold: 0,
            wit: WIT_VERSION.to_owned(),
        }
    }

    /// RFC 8785 JSON: the bytes that the digest is of.
    #[must_use]
    pub fn canonical(&self) -> String {
        settings::canonical(self)
    }

    /// SHA-256 of [`Report::canonical`].
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest::of(self.canonical().as_bytes())
    }

    /// Reads a report back.
    ///
    /// # Errors
    /// When the bytes are not exactly what [`Report::canonical`] writes.
    pub fn from_canonical(bytes: &[u8]) -> Result<Self, ReportError> {
        let report: Self = serde_json::from_slice(bytes).map_err(ReportError::Syntax)?;
        if report.schema != Self::SCHEMA {
            return Err(ReportError::Schema(tame(&report.schema, MAX_MESSAGE)));
        }
        match report.canonical().as_bytes() == bytes {
            true => Ok(report),
            false => Err(ReportError::NotCanonical),
        }
    }

    pub(super) fn refuse(&mut self, finding: Finding) {
        push(&mut self.refusals, &mut self.refusals_untold, finding);
    }

    fn warn(&mut self, finding: Finding) {
        push(&mut self.warnings, &mut self.warnings_untold, finding);
    }

    /// The verdicts on the author's vectors; the first case is the ordinary request's.
    pub(super) fn add_vectors(&mut self, vectors: &[Vector], cases: &[Case], said: &[Evaluation]) {
        let answered = cases.iter().zip(said).skip(1);
        for (vector, (case, evaluation)) in vectors.iter().zip(answered) {
            let (_, mismatch) = compare(&vector.expect, evaluation, &case.input);
            self.vectors.push(VectorReport {
                digest: vector.digest(),
                fuel: evaluation.fuel,
                name: tame(&vector.name, MAX_MESSAGE),
                passed: mismatch.is_none(),
                verdict: evaluation.verdict,
            });
            if let Some(mismatch) = mismatch {
                self.refuse(Finding::new(VECTORS, &vector.name, mismatch));
            }
        }
        if vectors.is_empty() {
            self.warn(Finding::new(VECTORS, "", "the author gives no vectors"));
        } else if !self.vectors.iter().any(|vector| vector.verdict == Verdict::Allow) {
            self.warn(Finding::new(
                VECTORS,
                "",
                "no vector is allowed, so hostile requests were not tried behind the first refusal",
            ));
        }
    }

    pub(super) fn add_corpus(&mut self, cases: &[Case], answers: &[Evaluation]) {
        let answered: Vec<_> = cases.iter().zip(answers).collect();
        let all: Vec<(&str, &str, &str, u64)> = answered
            .iter()
            .map(|(case, answer)| {
                let code = answer.denial.as_ref().map_or("", |denial| denial.code.as_str());
                (case.name.as_str(), answer.verdict.as_str(), code, answer.fuel)
            })
            .collect();
        // The first of several.
        let most = answered.iter().rev().max_by_key(|(_, answer)| answer.fuel);
        self.corpus = Some(CorpusReport {
            allowed: all.iter().filter(|(_, verdict, ..)| *verdict == "allow").count() as u64,
            answers: Digest::of(settings::canonical(&all).as_bytes()),
            digest: corpus_digest().ok(),
            most_fuel: most.map_or(0, |(_, answer)| answer.fuel),
            most_fuel_on: most.map_or_else(String::new, |(case, _)| tame(&case.name, MAX_MESSAGE)),
            requests: all.len() as u64,
            version: CORPUS_VERSION,
        });
        for (case, answer) in answered {
            let Some(denial) = &answer.denial else {
                continue;
            };
            let message = format!("{}: {}", denial.code, denial.message);
            if FAILURES.contains(&denial.code.as_str()) {
                self.refuse(Finding::new(CORPUS, &case.name, message));
            } else if MISTAKES.contains(&denial.code.as_str()) {
                self.warn(Finding::new(CORPUS, &case.name, message));
            }
        }
    }

    pub(super) fn add_names(&mut self, (tried, found): &(u64, Vec<String>)) {
        self.names = Some(NamesReport {
            allowed: found.len() as u64,
            tried: *tried,
        });
        for name in found {
            let message = "denied, and allowed with one more name";
            self.warn(Finding::new(NAMES, name, message));
        }
    }

    pub(super) fn conclude(&mut self) {
        self.admitted = self.refusals.is_empty() && self.repeated;
    }
}

fn push(findings: &mut Vec<Finding>, untold: &mut u64, finding: Finding) {
    if findings.len() < MAX_FINDINGS {
        findings.push(finding);
    } else {
        *untold += 1;
    }
}

/// Why some bytes are no report.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// Not JSON, or not the fields of the schema.
    #[error("the admission report is not JSON of its schema")]
    Syntax(#[source] serde_json::Error),
    /// Another schema.
    #[error("the admission report has the schema {0:?}, not {known:?}", known = Report::SCHEMA)]
    Schema(String),
    /// Another spelling of a report.
    #[error("the admission report is not canonical JSON")]
    NotCanonical,
}
