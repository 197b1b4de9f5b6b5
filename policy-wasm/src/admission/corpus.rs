//! Hostile requests, the same for every module.
//!
//! A corpus is a list of changes. Each is made to the ordinary request, and to every request of the
//! author's vectors that the module allowed (up to [`MAX_BASES`]): a request that is refused at the first
//! look would not show what lies behind it. Its version is part of the report; whoever changes the list,
//! or what a change does, counts the version up (a test holds the digest).

mod changes;

use sealwright_identity::Digest;

use super::{
    AdmissionError,
    cases::{Bench, Case},
};
use crate::{Evaluation, PolicyInput, Verdict, settings, vectors};

pub(super) use self::changes::LARGEST;
use self::changes::{ADDED_NAMES, CHANGES};

/// The version of the corpus.
pub const CORPUS_VERSION: u32 = 1;

/// Requests that the changes are made to, the ordinary one included.
const MAX_BASES: usize = 17;

/// The digest of the changed ordinary requests: what the corpus is.
///
/// # Errors
/// When the ordinary request is none: a fault of ours.
pub fn corpus_digest() -> Result<Digest, AdmissionError> {
    let ordinary = vectors::ordinary().map_err(AdmissionError::Corpus)?;
    let named: Vec<(&str, PolicyInput)> = CHANGES
        .iter()
        .chain(ADDED_NAMES)
        .map(|(name, change)| {
            let mut input = ordinary.clone();
            change(&mut input);
            (*name, input)
        })
        .collect();
    Ok(Digest::of(settings::canonical(&named).as_bytes()))
}

/// The hostile requests for a module that said this on the author's.
pub(super) fn cases(authored: &[Case], said: &[Evaluation]) -> Vec<Case> {
    let bases = authored
        .iter()
        .zip(said)
        .enumerate()
        .filter(|(place, (_, said))| *place == 0 || said.verdict == Verdict::Allow)
        .map(|(_, (case, _))| case)
        .take(MAX_BASES);
    bases
        .flat_map(|base| {
            CHANGES
                .iter()
                .map(move |(name, change)| changed(base, name, *change))
        })
        .collect()
}

/// The one that leaves the most behind in an instance.
pub(super) fn largest(cases: &[Case]) -> Option<&Case> {
    cases.iter().find(|case| case.name.ends_with(LARGEST))
}

/// Requests that were denied, and are not with one more name: of the author's, and of the ordinary one's
/// changes. The number that was tried, and the names of those found.
pub(super) fn widening(
    bench: &Bench,
    authored: &[Case],
    said: &[Evaluation],
    hostile: &[Case],
    answers: &[Evaluation],
) -> Result<(u64, Vec<String>), AdmissionError> {
    let of_ordinary = hostile.iter().zip(answers).take(CHANGES.len());
    let denied = authored
        .iter()
        .zip(said)
        .chain(of_ordinary)
        .filter(|(_, answer)| answer.verdict == Verdict::Deny);
    let mut tried = 0;
    let mut found = Vec::new();
    for (case, _) in denied {
        for (name, add) in ADDED_NAMES {
            let more = changed(case, name, *add);
            tried += 1;
            if bench.evaluate(&more)?.verdict == Verdict::Allow {
                found.push(more.name);
            }
        }
    }
    Ok((tried, found))
}

fn changed(base: &Case, name: &str, change: fn(&mut PolicyInput)) -> Case {
    let mut input = base.input.clone();
    change(&mut input);
    Case {
        name: format!("{} + {name}", base.name),
        policy: base.policy,
        input,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_change_changes_and_can_be_recorded() {
        let ordinary = vectors::ordinary().unwrap();
        let mut names = HashSet::new();
        let mut seen = HashSet::new();
        for (name, change) in CHANGES.iter().chain(ADDED_NAMES) {
            let mut input = ordinary.clone();
            change(&mut input);
            input.check().unwrap();
            assert_ne!(input, ordinary, "{name}");
            assert!(seen.insert(input.canonical()), "{name} is another's");
            assert!(names.insert(*name), "{name} stands twice");
        }
        assert!(names.contains(LARGEST));
    }

    #[test]
    fn the_version_names_one_corpus() {
        let digest = corpus_digest().unwrap().to_string();
        assert_eq!(
            (CORPUS_VERSION, digest.as_str()),
            (
                1,
                "sha256:ae7eed976c3e447dbdde737d6ec8409acbd6c1bf1efb5d25addb6529d5cf04c3"
            ),
            "whoever changes the corpus counts CORPUS_VERSION up"
        );
    }
}
