//! An export from its first line to its last: what decides and who had agreed is judged on the way, decisions and
//! certificates are handed over with what was in force for them.

use std::{collections::HashMap, fs::File, io::BufReader, path::Path, sync::Arc};

use sealwright_identity::{Digest, Timestamp};
use sealwright_ledger::{
    BlobKind, Body, CeremonyEntry, CertificateKind, DecisionEntry, EntryKind, ExportError, ExportItem,
    ExportReader, ExportReport, PolicyEntry, PolicyEvent, RawEntry, StartEntry,
};
use sealwright_statement::policy::deployment_id;

use crate::{
    ceremonies::{Ceremonies, Origin},
    certificate::Certificate,
    decision::Case,
    library::Library,
    problem::{Problem, Uncompared},
    run::{ReplayError, ReplayOptions, ReplayProgress},
    sets::{InForce, Sets},
    summary::{CeremonySeen, KeysSeen, SetSeen, SetsSeen, Tally},
};

/// Jobs that change hands at once.
const BATCH: usize = 64;
/// Bytes of records that change hands at once; whole records, so a little more.
const BATCH_BYTES: usize = 1 << 20;
const READ_AHEAD: usize = 1 << 20;

/// Something to be judged.
pub(crate) enum Job {
    Decision(Box<Case>),
    Certificate(Box<Certificate>),
}

/// What a certificate is verified with.
struct Open {
    decided_at: Timestamp,
    issuer: String,
    issuer_key: Digest,
    tbs: Vec<u8>,
    start: Option<Arc<StartEntry>>,
}

/// The thread that reads.
pub(crate) struct Reading<'l> {
    library: &'l Library,
    start: Option<Arc<StartEntry>>,
    /// The id of the start's issuers.
    deployment: Option<Digest>,
    /// The first roster, as the caller knows it.
    roster: Option<Digest>,
    /// The ceremonies' roster or transcript, as the caller knows it.
    ceremony: Option<Digest>,
    ceremonies: Ceremonies,
    /// Certificates of issuers of which the gate said that there was no ceremony.
    without_ceremony: u64,
    /// Certificates of keys whose ceremony was for practice.
    practised: u64,
    /// Certificates of before ceremonies were recorded.
    before_ceremonies: u64,
    sets: Sets,
    /// The entry of the ceremony that has the first roster.
    by_ceremony: Option<u64>,
    changes: u64,
    /// Decisions under sets that nobody had to agree to.
    rehearsed: u64,
    /// Decisions of before there were sets.
    without_set: u64,
    open: HashMap<u64, Open>,
    batch: Vec<Job>,
    /// What the thread that reads has found itself.
    pub(crate) tally: Tally,
}

impl<'l> Reading<'l> {
    pub(crate) fn new(library: &'l Library, options: &ReplayOptions) -> Self {
        Self {
            library,
            start: None,
            deployment: None,
            roster: options.roster,
            ceremony: options.ceremony,
            ceremonies: Ceremonies::default(),
            without_ceremony: 0,
            practised: 0,
            before_ceremonies: 0,
            sets: Sets::default(),
            by_ceremony: None,
            changes: 0,
            rehearsed: 0,
            without_set: 0,
            open: HashMap::new(),
            batch: Vec::new(),
            tally: Tally::default(),
        }
    }

    /// Reads all of it, and hands over what is to be judged.
    pub(crate) fn all(
        &mut self,
        path: &Path,
        progress: &mut dyn FnMut(ReplayProgress),
        hand_over: &mut dyn FnMut(Vec<Job>) -> bool,
    ) -> Result<ExportReport, ReplayError> {
        let file = File::open(path).map_err(ReplayError::File)?;
        let total = file.metadata().map_err(ReplayError::File)?.len();
        let mut reader = ExportReader::open(BufReader::with_capacity(READ_AHEAD, file))?;
        let (mut entries, mut bytes) = (0, 0);
        while let Some(item) = reader.next()? {
            match item {
                ExportItem::Blob { place, kind, .. } => self.library.put(kind, place),
                ExportItem::Earlier(_, Body::Start(start)) => self.start(start),
                ExportItem::Earlier(entry, Body::Policy(policy)) => self.policy(&entry, &policy),
                ExportItem::Earlier(entry, Body::Ceremony(ceremony)) => self.ceremony(&entry, &ceremony),
                ExportItem::Earlier(..) => {}
                ExportItem::Entry(entry, body) => {
                    if entries == 0 {
                        self.begin(entry.sequence);
                    }
                    entries += 1;
                    bytes += entry.body.len();
                    self.entry(&entry, body);
                }
            }
            if self.batch.len() >= BATCH || bytes >= BATCH_BYTES {
                bytes = 0;
                progress(ReplayProgress {
                    bytes: reader.offset(),
                    total,
                    entries,
                });
                if !hand_over(std::mem::take(&mut self.batch)) {
                    return Err(ReplayError::Thread("all of them ended".to_owned()));
                }
            }
        }
        hand_over(std::mem::take(&mut self.batch));
        reader.report().ok_or(ReplayError::Export(ExportError::Truncated))
    }

    /// The part begins: from here on every record is there.
    fn begin(&mut self, sequence: u64) {
        self.sets.count_records();
        if self.sets.has_bounded_canaries() {
            self.tally.uncompared(sequence, Uncompared::Stop);
        }
    }

    fn start(&mut self, start: StartEntry) {
        let issuers = start.issuers.iter();
        self.deployment = Some(deployment_id(
            issuers.map(|issuer| (issuer.name.as_str(), issuer.key)),
        ));
        self.ceremonies.start(&start);
        self.start = Some(Arc::new(start));
    }

    fn entry(&mut self, entry: &RawEntry, body: Body) {
        match body {
            Body::Start(start) => self.start(start),
            Body::Policy(policy) => self.policy(entry, &policy),
            Body::Decision(decision) => self.decision(entry, decision),
            Body::Certificate(part) => {
                let Some(decision) = entry.refers else { return };
                match self.open.remove(&decision) {
                    Some(open) => self.batch.push(Job::Certificate(Box::new(Certificate {
                        decision,
                        decided_at: open.decided_at,
                        issuer: open.issuer,
                        issuer_key: open.issuer_key,
                        tbs: open.tbs,
                        part,
                        start: open.start,
                    }))),
                    // Its decision is in the export of an earlier time.
                    None => self.tally.uncompared(decision, Uncompared::Certificate),
                }
            }
            Body::Failed { .. } | Body::Unreleased => {
                if let Some(decision) = entry.refers {
                    self.open.remove(&decision);
                }
            }
            Body::Ceremony(ceremony) => self.ceremony(entry, &ceremony),
            Body::Blob(_) | Body::Prune(_) => {}
        }
    }

    /// What decides changes: judged at once, so that every decision after it meets what follows.
    fn policy(&mut self, entry: &RawEntry, policy: &PolicyEntry) {
        self.changes += 1;
        let library = self.library;
        let read = |blob| library.bytes::<Problem>(BlobKind::Statement, "statement", blob);
        let applied = self.sets.apply(entry.sequence, entry.recorded_at, policy, &read);
        if let Err(problem) = applied {
            return self.tally.found(entry.sequence, problem);
        }
        if policy.event == PolicyEvent::Stop && !self.sets.are_canaries_counted() {
            self.tally.uncompared(entry.sequence, Uncompared::Stop);
        }
        if policy.event == PolicyEvent::Roster
            && let Some(due) = self.roster.filter(|due| *due != policy.statement)
        {
            let text = format!("the first roster is {}, and you know {due}", policy.statement);
            self.tally.found(entry.sequence, Problem::Change(text));
        }
        if policy.event == PolicyEvent::Roster {
            self.by_ceremony(entry, policy);
        }
        self.reports(entry);
    }

    /// Where the ceremony of a key says who approves policies, the first roster is that.
    fn by_ceremony(&mut self, entry: &RawEntry, policy: &PolicyEntry) {
        let named = self
            .ceremonies
            .all()
            .filter_map(|made| Some((made, made.approvers?)));
        for (made, due) in named {
            if due == policy.statement {
                self.by_ceremony = Some(made.sequence);
            } else {
                let text = format!(
                    "the first roster is {}, and the ceremony of entry {} has {due}",
                    policy.statement, made.sequence
                );
                self.tally.found(entry.sequence, Problem::Change(text));
            }
        }
    }

    /// The admission reports that people agreed to are there.
    fn reports(&mut self, entry: &RawEntry) {
        let active = self
            .sets
            .all()
            .last()
            .filter(|active| active.sequence == entry.sequence);
        let reports = active.into_iter().flat_map(|active| &active.set.entries);
        let absent: Vec<Digest> = reports
            .filter_map(|entry| entry.report)
            .filter(|report| !self.library.has(BlobKind::Report, report))
            .collect();
        for report in absent {
            let problem = Problem::Absent {
                what: "admission report",
                digest: report.to_string(),
            };
            self.tally.found(entry.sequence, problem);
        }
    }

    /// A key may sign from here on: its transcript is verified again.
    fn ceremony(&mut self, entry: &RawEntry, ceremony: &CeremonyEntry) {
        let library = self.library;
        let read = |blob| library.bytes::<Problem>(BlobKind::Transcript, "transcript", blob);
        match self.ceremonies.apply(entry.sequence, ceremony, &read) {
            Ok(made) if made.recalled => self.tally.uncompared(entry.sequence, Uncompared::Transcript),
            Ok(_) => {}
            Err(problem) => return self.tally.found(entry.sequence, problem),
        }
        let known = |due: &Digest| [ceremony.roster, ceremony.transcript].contains(due);
        if let Some(due) = self.ceremony.filter(|due| !known(due)) {
            let text = format!(
                "it is by the roster {} with the transcript {}, and you know {due}",
                ceremony.roster, ceremony.transcript
            );
            self.tally.found(entry.sequence, Problem::Ceremony(text));
        }
    }

    /// Every certificate's key has its ceremony before it, or the gate had said that there was none.
    fn origin(&mut self, entry: &RawEntry, decision: &DecisionEntry) {
        match self.ceremonies.origin(decision, self.start.as_deref()) {
            Ok(Origin::Ceremony) => {
                let made = self.ceremonies.of(&decision.issuer_key);
                self.practised += u64::from(made.is_some_and(|made| made.entry.rehearsal));
            }
            Ok(origin) => {
                let (count, what) = match origin {
                    Origin::SaidNone => (&mut self.without_ceremony, "the gate said that there was none"),
                    _ => (&mut self.before_ceremonies, "none was recorded"),
                };
                *count += 1;
                if let Some(due) = self.ceremony {
                    let text = format!("of a ceremony of its key {what}, and you know {due}");
                    self.tally.found(entry.sequence, Problem::Ceremony(text));
                }
            }
            Err(problem) => self.tally.found(entry.sequence, problem),
        }
    }

    fn in_force(&mut self, entry: &RawEntry, decision: &DecisionEntry) -> Option<Arc<InForce>> {
        let in_force = match self.sets.in_force() {
            Some(in_force) => Some(in_force),
            // Who names a roster expects sets.
            None => self.roster.map(|_| Arc::new(InForce::default())),
        };
        if entry.entry_kind() == Ok(EntryKind::Decision) && decision.kind == CertificateKind::Workload {
            match &in_force {
                None => self.without_set += 1,
                Some(in_force) if in_force.approvals(in_force.number()) == Some(0) => self.rehearsed += 1,
                Some(_) => {}
            }
        }
        in_force
    }

    fn decision(&mut self, entry: &RawEntry, decision: DecisionEntry) {
        // The reader has seen to it that the kind is known.
        let Ok(kind) = entry.entry_kind() else { return };
        if kind == EntryKind::Decision {
            self.origin(entry, &decision);
            self.open.insert(
                entry.sequence,
                Open {
                    decided_at: entry.recorded_at,
                    issuer: decision.issuer.clone(),
                    issuer_key: decision.issuer_key,
                    tbs: decision.tbs.clone(),
                    start: self.start.clone(),
                },
            );
        }
        if kind != EntryKind::Refused
            && let Err(problem) = self.sets.record(&decision, entry.recorded_at)
        {
            self.tally.found(entry.sequence, problem);
        }
        let in_force = self.in_force(entry, &decision);
        self.batch.push(Job::Decision(Box::new(Case {
            sequence: entry.sequence,
            kind,
            recorded_at: entry.recorded_at,
            decision,
            start: self.start.clone(),
            deployment: self.deployment,
            in_force,
        })));
    }

    pub(crate) fn keys(&self) -> KeysSeen {
        let mut ceremonies: Vec<_> = self.ceremonies.all().map(CeremonySeen::of).collect();
        ceremonies.sort_by_key(|seen| seen.sequence);
        KeysSeen {
            ceremonies,
            without_ceremony: self.without_ceremony,
            rehearsed: self.practised,
            before_ceremonies: self.before_ceremonies,
        }
    }

    pub(crate) fn seen(&self) -> SetsSeen {
        SetsSeen {
            first_roster: self.sets.first_roster(),
            by_ceremony: self.by_ceremony,
            changes: self.changes,
            revoked: self.sets.revoked().iter().copied().collect(),
            activated: self.sets.all().map(SetSeen::of).collect(),
            rehearsed: self.rehearsed,
            without_set: self.without_set,
        }
    }
}
