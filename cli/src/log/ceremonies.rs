//! The ceremonies of a ledger's keys, verified again: where the key of a certificate comes from.

use sealwright_audit::{Ceremonies, Finding, Problem};
use sealwright_ledger::{Body, DecisionEntry, LedgerReader, StartEntry};
use serde_json::{Value, json};

use crate::failure::Failure;

/// Entries that are read at once.
const PIECE: u32 = 64;

/// Every ceremony that a ledger has, and what speaks against one.
pub(super) async fn read(reader: &LedgerReader) -> Result<(Ceremonies, Vec<Finding>), Failure> {
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
            let Ok(Body::Ceremony(ceremony)) = entry.body() else {
                let problem = Problem::Ceremony("its body cannot be read".to_owned());
                findings.push(Finding { sequence, problem });
                continue;
            };
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
    ceremonies: &Ceremonies,
    findings: &[Finding],
) -> Value {
    let problems: Vec<_> = findings.iter().map(ToString::to_string).collect();
    let problems = Some(problems).filter(|problems| !problems.is_empty());
    let said = start.and_then(|start| start.details.get(&format!("ceremony.{}", decision.issuer)));
    let Some(made) = ceremonies.of(&decision.issuer_key) else {
        let none = said.is_some_and(|said| said == "none");
        return json!({
            "ceremony": none.then_some("none"),
            "problem": (!none).then_some("no ceremony of this key holds in this ledger"),
            "problems": problems,
        });
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
        "problems": problems,
    })
}
