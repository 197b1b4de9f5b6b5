//! What of the staging folder a set can still need, however long it has waited.
//!
//! A set may be signed today for a day in some weeks. Until that day is over it waits with all that it names: revisions
//! and what they consist of, reports, a roster, the set that it follows. One that nobody signed keeps nothing: anybody
//! may send such a set, and its day may be far.

use std::collections::BTreeSet;

use sealwright_identity::{Digest, Timestamp};
use sealwright_statement::policy::{Revision, Revocation, Set};
use sealwright_statement::{Envelope, Statement};

use super::{Kind, Staging, StagingError};

/// The digests of the sets that were signed and can still take effect, and of what they need. With `anybody`, also of
/// those that nobody signed.
pub(in crate::server::policies) fn needed(
    staging: &Staging,
    number: u64,
    now: Timestamp,
    anybody: bool,
) -> Result<BTreeSet<Digest>, StagingError> {
    let mut needed = BTreeSet::new();
    each::<Set>(staging, |digest, set, signatures| {
        if (anybody || signatures > 0) && !is_past(set, number, now) {
            let entries = set.entries.iter();
            let named = entries.flat_map(|entry| [Some(entry.revision), entry.report]);
            needed.extend(named.chain([Some(set.roster), set.previous]).flatten());
            needed.insert(digest);
        }
    })?;
    let mut parts = BTreeSet::new();
    each::<Revision>(staging, |digest, revision, _signatures| {
        if needed.contains(&digest) {
            parts.insert(revision.module);
            parts.extend(revision.source);
        }
    })?;
    needed.append(&mut parts);
    Ok(needed)
}

/// Whether a set or revocation can never take effect any more: its number or its time is past.
pub(in crate::server::policies) fn is_over(armoured: &str, number: u64, now: Timestamp) -> bool {
    let Ok(envelope) = Envelope::parse(armoured) else {
        return true;
    };
    match envelope.kind() {
        Set::TYPE => envelope
            .open::<Set>()
            .is_ok_and(|set| is_past(&set.statement, number, now)),
        Revocation::TYPE => envelope
            .open::<Revocation>()
            .is_ok_and(|revocation| revocation.statement.number < number),
        _ => false,
    }
}

fn is_past(set: &Set, number: u64, now: Timestamp) -> bool {
    set.number <= number || set.not_after < now
}

/// Each statement of a type with its digest and the number of its signatures; one after another, as there may be many.
/// What cannot be read as one was damaged on the disk.
fn each<T: Statement>(
    staging: &Staging,
    mut look: impl FnMut(Digest, &T, usize),
) -> Result<(), StagingError> {
    for file in staging.list()? {
        if file.kind != Kind::Statement {
            continue;
        }
        let bytes = staging.read(Kind::Statement, &file.digest)?;
        let text = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
        let envelope = text.and_then(|text| Envelope::parse(&text).ok());
        if let Some(envelope) = envelope.filter(|envelope| envelope.kind() == T::TYPE)
            && let Ok(signed) = envelope.open::<T>()
        {
            look(
                signed.statement.digest(),
                &signed.statement,
                signed.signatures.len(),
            );
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use sealwright_statement::policy::{Entry, Limits, Mode, Scope, WIT_WORLD};
    use sealwright_statement::{FileSigner, KeyKind, Sealed, Signed};

    use super::super::MAX_AGE;
    use super::*;

    const NOW: Timestamp = Timestamp::from_unix_seconds(1_795_341_600);
    const DAY: Duration = Duration::from_secs(86_400);

    /// Everything that a set of one revision names; the digests of it.
    fn put(staging: &Staging, name: &str, signed: bool, change: impl FnOnce(&mut Set)) -> BTreeSet<Digest> {
        let blob = |kind: Kind| {
            let bytes = format!("{name} {}", kind.word());
            let digest = Digest::of(bytes.as_bytes());
            let size = u64::try_from(bytes.len()).unwrap();
            staging.append(kind, digest, size, 0, bytes.as_bytes()).unwrap();
            digest
        };
        let [module, source, report] = [Kind::Module, Kind::Source, Kind::Report].map(blob);
        let revision = Revision {
            policy: name.parse().unwrap(),
            module,
            source: Some(source),
            settings: "{}".to_owned(),
            scope: Scope::all_of("cluster.local".parse().unwrap()),
            wit: WIT_WORLD.to_owned(),
            limits: Limits { fuel: 1, memory: 0 },
        };
        let revision = Signed::unsigned(Sealed::new(revision).unwrap());
        let mut set = Set {
            deployment: Digest::of(b"deployment"),
            number: 4,
            previous: Some(Digest::of(b"previous")),
            not_before: NOW.saturating_sub(DAY * 22),
            not_after: NOW.saturating_add(DAY),
            roster: Digest::of(b"roster"),
            entries: vec![Entry {
                revision: revision.statement.digest(),
                mode: Mode::Enforce,
                report: Some(report),
            }],
            stop: None,
            restores: None,
        };
        change(&mut set);
        let mut set = Signed::unsigned(Sealed::new(set).unwrap());
        if signed {
            let key = FileSigner::generate(KeyKind::Ed25519).unwrap().0;
            set.sign(&key).unwrap();
        }
        let own = [revision.statement.digest(), set.statement.digest()];
        staging.put_statement(own[0], &revision.to_string()).unwrap();
        staging.put_statement(own[1], &set.to_string()).unwrap();
        BTreeSet::from([module, source, report, own[0], own[1]])
    }

    /// It may be activated until 70 days after it was proposed, and the gate was started after 61.
    #[test]
    fn what_a_signed_set_of_a_later_day_needs_is_not_forgotten() {
        let home = tempfile::tempdir().unwrap();
        let staging = Staging::of(home.path());
        let due = put(&staging, "due", true, |_| ());
        let unsigned = put(&staging, "unsigned", false, |_| ());
        let over = put(&staging, "over", true, |set| {
            set.not_after = NOW.saturating_sub(DAY)
        });
        put(&staging, "late", true, |set| {
            set.number = 3;
            set.restores = Some(1);
        });
        for file in std::fs::read_dir(home.path().join("staging")).unwrap() {
            let at = SystemTime::UNIX_EPOCH + (MAX_AGE / 60) * 2;
            let file = std::fs::File::open(file.unwrap().path()).unwrap();
            file.set_modified(at).unwrap();
        }
        let named = [Digest::of(b"previous"), Digest::of(b"roster")];
        let all = |sets: &[&BTreeSet<Digest>]| -> BTreeSet<Digest> {
            sets.iter().copied().flatten().copied().chain(named).collect()
        };
        // Where nobody has to agree, nobody need have signed.
        assert_eq!(needed(&staging, 3, NOW, true).unwrap(), all(&[&due, &unsigned]));
        assert_eq!(needed(&staging, 3, NOW, false).unwrap(), all(&[&due]));
        let before = needed(&staging, 3, NOW.saturating_sub(DAY * 2), false).unwrap();
        assert_eq!(before, all(&[&due, &over]));

        let now = SystemTime::UNIX_EPOCH + MAX_AGE * 2;
        let kept = needed(&staging, 3, NOW, false).unwrap();
        assert_eq!(staging.forget_old(now, &kept), 15);
        let left: BTreeSet<_> = staging.list().unwrap().iter().map(|file| file.digest).collect();
        assert_eq!(left, due);
        // Once another set has its number, it is like any.
        assert!(needed(&staging, 4, NOW, true).unwrap().is_empty());
    }
}
