//! Denials and refusals that are too large for a record: cut, never left out.
//!
//! Whoever asks in vain chooses how much to ask, and must not escape the record by asking at length. So the parts that
//! anybody else may have filled are cut to sizes whose sum is below a record's bound, and the message says what was there,
//! with its size and digest.

use std::fmt::Write as _;

use sealwright_identity::Digest;

use crate::entry::{DecisionEntry, Denial, PolicyRef};

/// Bytes of parts that are kept whole, or not at all.
const CSR: usize = 16 * 1024;
const TBS: usize = 8 * 1024;
/// Bytes of all names together, and how many policies.
const IDENTITIES: usize = 8 * 1024;
const POLICIES: usize = 32;
/// Bytes of one text.
const TEXT: usize = 1024;
const WORD: usize = 128;

/// The entry without its evidence, with every other part bounded.
pub(crate) fn shortened(entry: &DecisionEntry) -> DecisionEntry {
    let mut notes = String::from("; this record was cut:");
    let csr = whole(&mut notes, "the CSR", &entry.csr, CSR);
    let tbs = whole(&mut notes, "the to-be-signed bytes", &entry.tbs, TBS);
    let evidence = whole(&mut notes, "the evidence", &entry.evidence, 0);
    let mut room = IDENTITIES;
    let fits = |name: &&String| {
        room = room.saturating_sub(name.len());
        room > 0
    };
    let identities: Vec<String> = entry.identities.iter().take_while(fits).cloned().collect();
    count(&mut notes, "names", entry.identities.len(), identities.len());
    let policies: Vec<PolicyRef> = entry.policies.iter().take(POLICIES).map(policy).collect();
    count(&mut notes, "policies", entry.policies.len(), policies.len());
    let denial = entry.denial.as_ref().map(|denial| Denial {
        policy: cut(&denial.policy, WORD),
        code: cut(&denial.code, WORD),
        message: cut(&denial.message, TEXT) + &notes,
        field: denial.field.as_deref().map(|field| cut(field, TEXT)),
        hint: denial.hint.as_deref().map(|hint| cut(hint, TEXT)),
    });
    DecisionEntry {
        issuer: cut(&entry.issuer, WORD),
        issuer_key: entry.issuer_key,
        serial: entry.serial.clone(),
        identities,
        policies,
        csr,
        tbs,
        evidence,
        kind: entry.kind,
        denial,
        renewal: entry.renewal.clone(),
        set: entry.set,
    }
}

fn whole(notes: &mut String, what: &str, bytes: &[u8], max: usize) -> Vec<u8> {
    if bytes.len() <= max {
        return bytes.to_vec();
    }
    let _ = write!(notes, " {what} ({} bytes, {})", bytes.len(), Digest::of(bytes));
    Vec::new()
}

fn count(notes: &mut String, what: &str, had: usize, kept: usize) {
    if kept < had {
        let _ = write!(notes, " {} {what}", had - kept);
    }
}

fn policy(policy: &PolicyRef) -> PolicyRef {
    PolicyRef {
        name: cut(&policy.name, WORD),
        verdict: cut(&policy.verdict, WORD),
        ..policy.clone()
    }
}

/// At most `max` bytes of a text.
fn cut(text: &str, max: usize) -> String {
    let end = text.floor_char_boundary(max);
    text.get(..end).unwrap_or(text).to_owned()
}
