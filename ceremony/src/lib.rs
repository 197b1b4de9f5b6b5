//! The key ceremony: from one reviewed plan to keys in a token, certificates, and a transcript that anybody can
//! verify later with public data only.
//!
//! The values follow each other, and each is made by the step before alone: a plan's text becomes a
//! [`LintedPlan`], with a quorum's approvals an [`ApprovedPlan`], behind the preconditions a running
//! [`Ceremony`], at the end a [`Finished`] one. What runs is one straight program over a [`journal`]: each call of
//! the token is written down before it is made, and its answer before it is used. So a ceremony that was cut off goes
//! on where it was, and one that is over is verified by running the program again on the answers that were written
//! down, without a token.
//!
//! It is no quorum that binds a token: it proves who agreed, to whoever reads the transcript. It never sees a
//! private key, and a PIN only on its way to the token.
//!
//! The invariant: nothing is signed but what the approved plan says, over bytes that were linted before.

#![forbid(unsafe_code)]

mod approval;
mod attributes;
mod beside;
mod bundle;
mod canonical;
mod chain;
mod compare;
mod error;
mod files;
mod hands;
mod head;
mod id;
pub mod journal;
mod older;
mod openssl;
mod outputs;
pub mod plan;
mod preconditions;
mod progress;
mod report;
mod room;
mod roster;
mod run;
mod script;
mod survey;
mod throwaway;
mod transcript;
mod verify;

pub use approval::{Approval, ApprovalError, ApprovedPlan, Signatory};
pub use bundle::Bundle;
pub use compare::{Comparison, compare};
pub use error::{Class, Error};
pub use files::{Files, Mode};
pub use head::{Head, Outcome};
pub use id::CeremonyId;
pub use plan::{LintedPlan, Plan, PlanError, Warning};
pub use preconditions::{Place, Surroundings};
pub use progress::Progress;
pub use report::Report;
pub use room::{PATIENCE, PinFor, Room};
pub use roster::{Person, Role, Roster, RosterError};
pub use run::{Ceremony, Declared, Finished, RELEASE};
pub use script::{Estimate, estimate, script, script_pdf};
pub use survey::{Explained, Surveyed, hold_against};
pub use transcript::{Transcript, note};
pub use verify::{Recalled, Verified, VerifiedCertificate, recall, verify, verify_files};
