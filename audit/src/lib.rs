//! Replay: an export of the ledger, read by somebody who trusts neither the front nor the gate that wrote it.
//!
//! For every decision in an export the policies are executed again, on the recorded input, with the recorded settings and
//! limits, and what was recorded must come out. What can be computed from the record is computed again and compared: the
//! facts of the request, the names that were on offer, the certificate's bytes, its signature up to a trust anchor that
//! the caller brings. Which policies had to allow is computed from the policy set in force, and whether that was in
//! force from the signatures of the people who agreed to it. Where an issuer's key comes from follows from the transcript of
//! its ceremony, which is verified again.
//!
//! It needs a file and nothing else: no server, no key, no database, no clock, no network. Nothing in the file is
//! believed; every size is bounded, and a file that lies gives findings, not panics.
//!
//! What it cannot find: a caller who was never there (whoever holds the front can invent one), and what configuration
//! alone decides (the caller's constant attributes, which authenticators there are).

#![forbid(unsafe_code)]

mod agreement;
mod asked;
mod ceremonies;
mod certificate;
mod decision;
mod library;
mod problem;
mod reading;
mod run;
mod sets;
mod summary;
mod terms;

pub use ceremonies::{Ceremonies, Made, Origin, ReadTranscript};
pub use library::{Anchors, AnchorsError};
pub use problem::{Finding, Problem, Uncompared};
pub use run::{ReplayError, ReplayOptions, ReplayProgress, replay};
pub use sets::{Activated, ReadStatement, Sets, Stopped};
pub use summary::{
    Approvals, CeremonySeen, Counts, Incomparable, KeysSeen, Outcome, SetSeen, SetsSeen, StopSeen, Summary,
};
