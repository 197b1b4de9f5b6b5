//! The ceremonies of a ledger's keys, verified again: where the key of a certificate comes from.

use sealwright_audit::{Ceremonies, Finding, Origin, Problem};
use sealwright_ledger::{Body, CeremonyEntry, DecisionEntry, LedgerReader, StartEntry};
use serde_json::{Value, json};

use crate::failure::Failure;

/// Entries that are read at once.
const PIECE: u32 = 64;

/// Every ceremony that a ledger has before an entry, and what speaks against one.
pub(super) async fn read(reader: &LedgerReader, before: u64) -> Result<(Ceremonies, Vec<Finding>), Failure> {
    let (mut ceremonies, mut findings) = (Ceremonies::default(), Vec::new());
    let mut after = 0;
    loop {
        let piece = reader
            .ceremony_entries_after(after, PIECE)
            .await
            .map_err(super::failure)?;
        let Some(last) = piece.last() else {
            return Ok((ceremonies, findings));
        };
        after = last.sequence;
        for entry in piece {
            let sequence = entry.sequence;
            if sequence > before {
                return Ok((ceremonies, findings));
            }
            let Ok(Body::Ceremony(ceremony)) = entry.body() else {
                let problem = Problem::Ceremony("its body cannot be read".to_owned());
                findings.push(Finding { sequence, problem });
                continue;
            };
            if entry.computed_hash() != entry.hash {
                let problem = Problem::Ceremony("it was changed: its hash is another".to_owned());
                findings.push(Finding { sequence, problem });
                continue;
            }
            let blob = reader.blob(&ceremony.blob).await.map_err(super::failure)?;
            let bytes = blob.map(|blob| blob.bytes).ok_or_else(|| Problem::Absent {
                what: "transcript",
                digest: ceremony.blob.to_string(),
            });
            let applied = ceremonies.apply(sequence, &ceremony, &|_| bytes.clone());
            if let Err(problem) = applied {
                findings.push(Finding { sequence, problem });
            }
        }
    }
}

/// Where the key of a decision comes from: its ceremony, the word of the start in force, or what is wrong.
pub(super) fn origin(
    decision: &DecisionEntry,
    start: Option<&StartEntry>,
    mut ceremonies: Ceremonies,
    findings: &[Finding],
) -> Value {
    if let Some(start) = start {
        ceremonies.start(start);
    }
    let problems: Vec<_> = findings.iter().map(ToString::to_string).collect();
    let problems = Some(problems).filter(|problems| !problems.is_empty());
    let (ceremony, remark, problem) = match ceremonies.origin(decision, start) {
        Ok(Origin::Ceremony) => (None, None, None),
        Ok(Origin::SaidNone) => (Some(CeremonyEntry::NONE), None, None),
        Ok(Origin::Before) => (
            None,
            Some("the record is of before ceremonies were recorded"),
            None,
        ),
        Err(problem) => (None, None, Some(problem.to_string())),
    };
    let Some(made) = ceremonies.of(&decision.issuer_key) else {
        return json!({ "ceremony": ceremony, "remark": remark, "problem": problem, "problems": problems });
    };
    json!({
        "ceremony": made.entry.ceremony,
        "transcript": made.entry.transcript,
        "roster": made.entry.roster,
        "plan": made.entry.plan,
        "rehearsal": made.entry.rehearsal,
        "signed_by": made.entry.signed_by,
        "recorded": { "sequence": made.sequence, "issuer": made.entry.issuer },
        "remark": made.recalled.then_some("made by another release: its program was not run again"),
        "problem": problem,
        "problems": problems,
    })
}
