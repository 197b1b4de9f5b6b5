//! The policy host: decides requests by WebAssembly components.
//!
//! A *policy* is a component of the world `sealwright:policy@1.0.0`
//! (`policy-wasm/wit`), with its settings. It is compiled once, from the bytes
//! of the component, and gets a fresh instance for every decision. Its code may
//! be kept between starts, in a folder that this user alone can write
//! (`precompiled`). [`PolicyHost`] runs decisions on threads of its own.
//!
//! What this crate is not: it knows nothing of gRPC, of configuration or of keys, and
//! it does not check the ceiling of an issuer against a certificate (the
//! signer and the gate do, each for itself).
//!
//! Invariants:
//! * a decision is a pure function of the component, its settings, its limits
//!   and the canonical [`PolicyInput`]: no clock, no randomness, no WASI;
//! * a policy can narrow the ceiling, never widen it;
//! * every error of a policy denies. What is the host's own failing (a full
//!   queue or pool, the epoch backstop, memory that the system does not give)
//!   is [`Outcome::Aborted`], which is neither a grant nor a policy's denial.

pub mod admission;
#[doc(hidden)]
pub mod answer;
mod bindings;
mod combine;
mod decision;
mod encode;
mod engine;
pub mod evidence;
mod guard;
mod host;
mod input;
mod lane;
mod limits;
mod policy;
mod precompiled;
mod profile;
mod schema;
mod settings;
mod vectors;

#[cfg(test)]
mod tests;

pub use decision::{
    AbortReason, Decision, Denial, Evaluation, LogLevel, LogLine, Narrowing, Outcome, Verdict, code,
};
pub use encode::{BuildNote, ENCODER, EncodeError, build_note, componentize};
pub use engine::{CodeOrigins, Engine, EngineError, EngineSettings};
pub use host::{DEFAULT_DEADLINE, Difference, HostConfig, HostError, Observation, PolicyHost, ShadowLane};
pub use input::{
    CallerFacts, CeilingFacts, CsrFacts, InputError, IssuerFacts, KubernetesFacts, PolicyInput,
    RESERVED_ATTRIBUTES, RequestFacts,
};
pub use limits::Limits;
pub use policy::{Description, LoadError, Policy, PolicySource, SettingsProblem};
pub use profile::{EngineProfile, WIT_VERSION};
pub use schema::check_schema;
pub use settings::{SettingsError, canonical_settings, parse_settings};
pub use vectors::{
    Allowed, Denied, Expect, MAX_VECTOR_BYTES, MAX_VECTORS, Vector, VectorError, VectorFormat, VectorOutcome,
    VectorRunner,
};
