//! The issuance log: an append-only, hash-chained record of every decision, written before the key is touched.
//!
//! # What it keeps
//!
//! 1. What it answered `Ok` to is on disk.
//! 2. Entries have a sequence from 1 without gaps; each holds the SHA-256 of the one before ([`chain`]).
//! 3. A decision is settled once: by its certificate, by a failure, or, after a crash, as `unreleased`.
//! 4. A serial is decided on once, for ever; also one whose record was pruned.
//! 5. A byte that is changed, a row that is taken out or put elsewhere is found by [`LedgerReader::verify`]; so is a
//!    cut-off end, unless whoever cut it also wrote SQLite's own counter anew: against that, compare the [`Head`] with one
//!    that was kept elsewhere (an export has it).
//!
//! It is not a policy engine and reads no certificate: requests, to-be-signed bytes and evidence are kept as they come.
//!
//! # The record
//!
//! One SQLite database (write-ahead log, full sync), one writer ([`Ledger`]) with an exclusive lock, any number of readers
//! ([`LedgerReader`]). Tables: `instance` (a random id; the chain begins with its hash), `entries`, `blobs` (modules,
//! settings, engine profiles, chains, signed statements, source archives, admission reports, transcripts of key ceremonies:
//! once each, vouched for by an entry), `lookups` (from names to entries; derived).
//! `removed` has the serials of decisions that were pruned. Triggers refuse UPDATE, and DELETE of anything that no pruning
//! ([`PrunePlan`]) has named.
//!
//! An entry has: `sequence`, `kind`, `recorded_at` (µs since the Unix epoch), `settled` (every decision before this
//! sequence is settled, so that a start finds the open ones without searching), `refers` (the decision that it settles),
//! `serial` (of a decision), `previous` and `hash`, and a `body`: one format byte, then fields `tag ‖ length ‖ value` in
//! ascending order of tags:
//!
//! | tag | field | in |
//! |---|---|---|
//! | 1 | identity, repeated, the primary one first | decision, denied, refused |
//! | 2 | policy, repeated: 1 name, 2 module, 3 settings, 4 verdict, 5 fuel | " |
//! | 3, 4 | issuer's name, SHA-256 of its key | " |
//! | 5 | 1 for a serving certificate | " |
//! | 6 | denial: 1 policy, 2 code, 3 message, 4 field, 5 hint | denied, refused |
//! | 7 | serial that was asked for | refused |
//! | 8, 9, 10 | CSR, to-be-signed bytes, evidence | decision, denied, refused |
//! | 11, 12 | of a renewal: serial of the certificate that was presented, µs of the first record of its chain | " |
//! | 13, 14 | number of the policy set, how many people agreed to it (4 bytes) | " |
//! | 20, 21 | SHA-256 of the certificate, its bytes after the to-be-signed part | certificate |
//! | 22 | reason | failed |
//! | 23 | JSON of the start | start |
//! | 24, 25, 26 | digest, kind, size | blob |
//! | 30, 31 | event (1 first roster, 2 set, 3 revocation), number of the set in force from then on | policy |
//! | 32, 33 | digest of the statement, µs when the gate judged it | " |
//! | 34, 35 | how many people agreed (4 bytes), 1 when made from configuration | " |
//! | 36 | repeated: digest of a statement that is brought in, digest of the blob with its armoured file | " |
//! | 3, 4 | issuer's name, SHA-256 of its key | ceremony |
//! | 40, 41, 42 | digests of the transcript, of the roster, of the plan | " |
//! | 43, 44 | the ceremony's id, 1 for a rehearsal | " |
//! | 45, 46 | repeated: who signed the end; digest of the blob with the transcript's files | " |
//! | 50, 51 | sequence and hash of the last entry that went | prune |
//! | 52 | µs of the time that was asked for | " |
//! | 53, 54 | count (8 bytes) and digest: of the entries before it that stay, of the serials that went | " |
//! | 55 | OS user | " |
//! | 56 | repeated: an export with what went: 1 SHA-256 of the file, 2 and 3 sequence and hash of the entry before its first, of its last, 4 name | " |
//!
//! An export ([`export`]) is JSON lines of the same columns with what they name, verified without a database.

#![forbid(unsafe_code)]

mod body;
pub mod chain;
mod codec;
mod config;
mod entry;
mod error;
pub mod export;
mod ledger;
mod lock;
mod prune;
mod reader;
mod schema;
mod shorten;
mod stats;
mod verify;
mod writer;

pub use body::{BlobRef, Body, SignedPart};
pub use chain::{Head, Instance, RawEntry};
pub use codec::CodecError;
pub use config::LedgerConfig;
pub use entry::{
    Appended, BlobKind, CanaryStop, CeremonyEntry, CertificateEntry, CertificateKind, DecisionEntry, Denial,
    EntryKind, FailedEntry, IssuerFacts, Outcome, PolicyEntry, PolicyEvent, PolicyFacts, PolicyRef, Renewal,
    SetRef, StartEntry, StatementRef, TokenFacts,
};
pub use error::{Error, SharedSource};
pub use export::{
    BlobPlace, ExportError, ExportHeader, ExportItem, ExportReader, ExportReport, verify_export,
};
pub use ledger::Ledger;
pub use prune::{
    Needed, PruneEntry, PruneError, PrunePlan, PruneReport, PruneWish, PrunedExport, Pruning, Tally,
};
pub use reader::{
    Blob, DEFAULT_TIME_BOUND, Filter, LedgerReader, MalformedRow, Pruned, ReadError, Record, Released, Row,
    Selector,
};
pub use stats::StatsReading;
pub use verify::{Finding, Problem, Progress, PrunedReport, VerifyReport};
