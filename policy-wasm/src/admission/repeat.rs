//! The same verdict and the same fuel, whatever surrounds a decision.
//!
//! Every answer was given once. Each is asked for again: in another slot of the pool and in another
//! order; right after an instance that left much behind; in a fresh engine that compiled the component
//! again; in one that got the machine code and compiled nothing.

use super::{
    AdmissionError, Finding, REPEATABLE, Submission,
    cases::{Bench, Case},
    corpus, engine,
};
use crate::{AbortReason, EngineSettings, Evaluation};

/// What of the answers was another the second time.
pub(super) fn differences(
    settings: &EngineSettings,
    submission: &Submission,
    bench: &Bench,
    cases: &[Case],
    first: &[Evaluation],
) -> Result<Vec<Finding>, AdmissionError> {
    let asked: Vec<(&Case, &Evaluation)> = cases.iter().zip(first).collect();
    let mut findings = Vec::new();
    let mut note = |where_: &str, case: &Case, before: &Evaluation, after: &Evaluation| {
        if let Some(what) = difference(before, after) {
            let message = format!("{where_}: {what}");
            findings.push(Finding::new(REPEATABLE, &case.name, message));
        }
    };

    if let Some(policy) = bench.policies.first() {
        // The slot that the pool would give next is taken.
        let held = policy.instantiate(0);
        let held = held.map_err(|_full| AdmissionError::Aborted {
            case: "another slot".to_owned(),
            reason: AbortReason::PoolFull,
        })?;
        for (case, before) in asked.iter().rev() {
            note("in another slot", case, before, &bench.evaluate(case)?);
        }
        drop(held);
    }
    if let Some(dirt) = corpus::largest(cases) {
        for (case, before) in &asked {
            bench.evaluate(dirt)?;
            note("after a used instance", case, before, &bench.evaluate(case)?);
        }
    }

    let again =
        Bench::load(&engine(settings)?, submission).map_err(|(_, error)| AdmissionError::Again(error))?;
    for (case, before) in &asked {
        note("in a fresh engine", case, before, &again.evaluate(case)?);
    }
    drop(again);

    let Some(policy) = bench.policies.first() else {
        return Ok(findings);
    };
    let code = policy.code().map_err(AdmissionError::Code)?;
    let precompiled = engine(settings)?;
    // Alive until the policies hold it.
    let adopted = precompiled
        .compiled()
        .adopt(&precompiled, policy.module(), &code)
        .map_err(AdmissionError::Again)?;
    let from_code =
        Bench::load(&precompiled, submission).map_err(|(_, error)| AdmissionError::Again(error))?;
    drop(adopted);
    for (case, before) in &asked {
        note("from machine code", case, before, &from_code.evaluate(case)?);
    }
    Ok(findings)
}

/// The part of an answer that differs, for people.
fn difference(before: &Evaluation, after: &Evaluation) -> Option<&'static str> {
    if before == after {
        return None;
    }
    Some(if before.verdict != after.verdict {
        "another verdict"
    } else if before.narrowing != after.narrowing || before.denial != after.denial {
        "another answer"
    } else if before.fuel != after.fuel {
        "other fuel"
    } else {
        "another log"
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Limits, Verdict};

    #[test]
    fn tells_what_differs() {
        let before = Evaluation {
            name: "a".to_owned(),
            module: sealwright_identity::Digest::of(b""),
            settings: sealwright_identity::Digest::of(b""),
            limits: Limits::default(),
            verdict: Verdict::Allow,
            fuel: 1,
            narrowing: None,
            denial: None,
            aborted: None,
            log: Vec::new(),
        };
        assert_eq!(difference(&before, &before), None);
        let fuel = Evaluation {
            fuel: 2,
            ..before.clone()
        };
        assert_eq!(difference(&before, &fuel), Some("other fuel"));
        let verdict = Evaluation {
            verdict: Verdict::Deny,
            ..fuel
        };
        assert_eq!(difference(&before, &verdict), Some("another verdict"));
        let log = Evaluation {
            log: vec![crate::LogLine {
                level: crate::LogLevel::Info,
                message: String::new(),
            }],
            ..before.clone()
        };
        assert_eq!(difference(&before, &log), Some("another log"));
    }
}
