//! What comes out of a replay.

use std::collections::BTreeMap;

use sealwright_identity::{Digest, Timestamp};
use sealwright_ledger::ExportReport;
use sealwright_statement::policy::CanaryCounts;
use serde::Serialize;

use crate::{
    ceremonies::Made,
    decision::Judged,
    problem::{Finding, Problem, Uncompared},
    sets::{Activated, Stopped},
};

/// More findings than these are counted, not kept.
const MAX_FINDINGS: usize = 1000;
/// Sequences that are named for each thing that could not be compared.
const MAX_NAMED: usize = 10;

/// What a replay says of one record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All of it came out again.
    Reproduced,
    /// All of it but the fuel, under another engine profile.
    ReproducedElsewhere,
    /// It was aborted then, which is nothing to reproduce.
    Aborted,
    /// No policy had been asked.
    Unasked,
    /// A certificate of the signer's own server.
    Serving,
    /// The gate refused it; its evidence is the front's word.
    Refused,
    /// It could not be compared here.
    Uncompared,
    /// It contradicts what was computed.
    Differs,
}

/// Records by what a replay says of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Decisions, denials and refusals.
    pub decisions: u64,
    /// Everything came out again: verdict, narrowing, fuel.
    pub reproduced: u64,
    /// Verdict and narrowing came out again, under another engine profile.
    pub reproduced_elsewhere: u64,
    /// Aborted when they were made.
    pub aborted: u64,
    /// Turned down before any policy was asked.
    pub unasked: u64,
    /// Certificates of the signer's own server, which no policy decides.
    pub serving: u64,
    /// Refused by the gate.
    pub refused: u64,
    /// Could not be compared here.
    pub uncompared: u64,
    /// Contradicted.
    pub differing: u64,
    /// Certificates whose signature leads to a trust anchor.
    pub certificates: u64,
}

/// What could not be compared.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Incomparable {
    /// How many records.
    pub count: u64,
    /// The first of them.
    pub first: Vec<u64>,
}

/// What decided, and who had agreed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SetsSeen {
    /// The digest of the first roster. Compare it with the one that you know: everything else follows from it.
    pub first_roster: Option<Digest>,
    /// The entry of the key ceremony whose quorum agreed to that roster.
    pub by_ceremony: Option<u64>,
    /// Policy entries, those from before the part too.
    pub changes: u64,
    /// Revisions that were revoked.
    pub revoked: Vec<Digest>,
    /// The sets that took effect and hold, in their order.
    pub activated: Vec<SetSeen>,
    /// Certificates that were decided on under sets to which nobody had to agree: a rehearsal's.
    pub rehearsed: u64,
    /// Certificates that were decided on before there were sets: their policies are the configuration's.
    pub without_set: u64,
}

/// A set that took effect.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SetSeen {
    /// Its number.
    pub number: u64,
    /// Its digest.
    pub digest: Digest,
    /// The entry.
    pub sequence: u64,
    /// The gate's time when it judged it.
    pub judged_at: Timestamp,
    /// Who agreed.
    pub approvals: Approvals,
    /// Its canaries that its bounds stopped.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub stopped: Vec<StopSeen>,
}

/// A canary that was stopped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StopSeen {
    /// The canary's revision.
    pub revision: Digest,
    /// The entry.
    pub sequence: u64,
    /// The gate's time.
    pub at: Timestamp,
    /// What it had come to.
    #[serde(flatten)]
    pub counts: CanaryCounts,
}

/// Who agreed to a set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Approvals {
    /// Nobody, and nobody had to: the word `none`.
    None(&'static str),
    /// These people.
    People(Vec<String>),
}

/// Where the issuers' keys come from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct KeysSeen {
    /// The ceremonies that hold, in the order of their entries.
    pub ceremonies: Vec<CeremonySeen>,
    /// Certificates of issuers of which the gate said `ceremony: none`.
    pub without_ceremony: u64,
    /// Certificates of keys whose ceremony was for practice.
    pub rehearsed: u64,
    /// Certificates of before ceremonies were recorded.
    pub before_ceremonies: u64,
}

/// A ceremony that made an issuer's key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CeremonySeen {
    /// The entry.
    pub sequence: u64,
    /// The issuer that it was recorded for.
    pub issuer: String,
    /// Its key.
    pub key: Digest,
    /// The digest that names the transcript. Compare it with the paper of the ceremony.
    pub transcript: Digest,
    /// The digest of the roster. The same.
    pub roster: Digest,
    /// Whether it was for practice.
    pub rehearsal: bool,
    /// Who signed its end.
    pub signed_by: Vec<String>,
}

impl CeremonySeen {
    pub(crate) fn of(made: &Made) -> Self {
        let entry = made.entry.clone();
        Self {
            sequence: made.sequence,
            issuer: entry.issuer,
            key: entry.key,
            transcript: entry.transcript,
            roster: entry.roster,
            rehearsal: entry.rehearsal,
            signed_by: entry.signed_by,
        }
    }
}

impl SetSeen {
    pub(crate) fn of(activated: &Activated) -> Self {
        Self {
            number: activated.set.number,
            digest: activated.set.digest(),
            sequence: activated.sequence,
            judged_at: activated.judged_at,
            approvals: Approvals::of(activated),
            stopped: activated.stopped().iter().map(StopSeen::of).collect(),
        }
    }
}

impl StopSeen {
    fn of((revision, stopped): (&Digest, &Stopped)) -> Self {
        Self {
            revision: *revision,
            sequence: stopped.sequence,
            at: stopped.at,
            counts: stopped.counts,
        }
    }
}

impl Approvals {
    /// Of a set that was judged.
    #[must_use]
    pub fn of(activated: &Activated) -> Self {
        let people = &activated.verdict.counted;
        match people.is_empty() {
            true => Self::None("none"),
            false => Self::People(people.iter().map(|one| one.person.to_string()).collect()),
        }
    }
}

impl std::fmt::Display for Approvals {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::None(word) => f.write_str(word),
            Self::People(names) => f.write_str(&names.join(", ")),
        }
    }
}

/// A replay, whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// What the export holds.
    pub export: ExportReport,
    /// Digest of this program's engine profile.
    pub engine_profile: String,
    /// Records by outcome.
    pub counts: Counts,
    /// What decided, and who had agreed.
    pub sets: SetsSeen,
    /// Where the issuers' keys come from.
    pub keys: KeysSeen,
    /// What could not be compared, and why.
    pub not_comparable: BTreeMap<Uncompared, Incomparable>,
    /// What contradicts the records, in their order, at most 1,000.
    pub findings: Vec<Finding>,
    /// Findings beyond those.
    pub more_findings: u64,
}

impl Summary {
    /// Whether nothing contradicts the records.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.findings.is_empty()
    }

    /// Whether everything was compared that this program could ever compare.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.not_comparable.keys().all(|what| what.is_expected())
    }
}

/// What one thread has found.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) counts: Counts,
    pub(crate) not_comparable: BTreeMap<Uncompared, Incomparable>,
    pub(crate) findings: Vec<Finding>,
    pub(crate) more_findings: u64,
}

impl Tally {
    pub(crate) fn judged(&mut self, sequence: u64, judged: Judged) {
        let Judged {
            outcome,
            problems,
            uncompared,
        } = judged;
        let counts = &mut self.counts;
        counts.decisions += 1;
        let count = match outcome {
            _ if !problems.is_empty() => &mut counts.differing,
            Outcome::Reproduced => &mut counts.reproduced,
            Outcome::ReproducedElsewhere => &mut counts.reproduced_elsewhere,
            Outcome::Aborted => &mut counts.aborted,
            Outcome::Unasked => &mut counts.unasked,
            Outcome::Serving => &mut counts.serving,
            Outcome::Refused => &mut counts.refused,
            Outcome::Uncompared => &mut counts.uncompared,
            Outcome::Differs => &mut counts.differing,
        };
        *count += 1;
        for problem in problems {
            self.found(sequence, problem);
        }
        for what in uncompared {
            self.uncompared(sequence, what);
        }
    }

    pub(crate) fn found(&mut self, sequence: u64, problem: Problem) {
        if self.findings.len() < MAX_FINDINGS {
            self.findings.push(Finding { sequence, problem });
        } else {
            self.more_findings += 1;
        }
    }

    pub(crate) fn uncompared(&mut self, sequence: u64, what: Uncompared) {
        let incomparable = self.not_comparable.entry(what).or_default();
        incomparable.count += 1;
        if incomparable.first.len() < MAX_NAMED {
            incomparable.first.push(sequence);
        }
    }

    pub(crate) fn add(&mut self, other: Self) {
        let (to, from) = (&mut self.counts, other.counts);
        for (to, from) in [
            (&mut to.decisions, from.decisions),
            (&mut to.reproduced, from.reproduced),
            (&mut to.reproduced_elsewhere, from.reproduced_elsewhere),
            (&mut to.aborted, from.aborted),
            (&mut to.unasked, from.unasked),
            (&mut to.serving, from.serving),
            (&mut to.refused, from.refused),
            (&mut to.uncompared, from.uncompared),
            (&mut to.differing, from.differing),
            (&mut to.certificates, from.certificates),
        ] {
            *to += from;
        }
        for (what, other) in other.not_comparable {
            let incomparable = self.not_comparable.entry(what).or_default();
            incomparable.count += other.count;
            incomparable.first.extend(other.first);
        }
        self.findings.extend(other.findings);
        self.more_findings += other.more_findings;
    }

    pub(crate) fn summary(
        mut self,
        export: ExportReport,
        engine_profile: String,
        sets: SetsSeen,
        keys: KeysSeen,
    ) -> Summary {
        self.findings.sort_by_key(|finding| finding.sequence);
        let beyond = self.findings.len().saturating_sub(MAX_FINDINGS);
        self.findings.truncate(MAX_FINDINGS);
        for incomparable in self.not_comparable.values_mut() {
            incomparable.first.sort_unstable();
            incomparable.first.truncate(MAX_NAMED);
        }
        Summary {
            export,
            engine_profile,
            counts: self.counts,
            sets,
            keys,
            not_comparable: self.not_comparable,
            findings: self.findings,
            more_findings: self.more_findings + u64::try_from(beyond).unwrap_or(u64::MAX),
        }
    }
}
