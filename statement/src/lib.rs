//! What people sign, and what their signatures are worth.
//!
//! A *statement* is a value of one of a few types ([`policy`] has those about policies), with one encoding
//! ([`cbor`]), hence one [digest](Sealed::digest) that names it. People sign its encoding behind a text that
//! names its type, so that no signature over one type is one over another. Statement and signatures travel in an
//! armoured text file ([`Envelope`]) that can be mailed, printed, or carried by hand.
//!
//! Everything that gate, front and auditor must compute alike is here, as pure functions: what is in force for an
//! identity ([`policy::enforcing`]), and whether a quorum agreed ([`policy::judge`]). No clock, no network, no
//! token; the only file that is ever read is a signer's own key ([`FileSigner`]).
//!
//! The invariants: a [`Sealed`] value is valid and its bytes are its only encoding; a [`policy::Approved`] set was
//! judged.

#![forbid(unsafe_code)]

pub mod cbor;
mod envelope;
mod key;
pub mod policy;
mod schema;
mod signature;
mod signer;
mod statement;
pub mod words;

pub use envelope::{Envelope, EnvelopeError, MAX_ARMOUR_BYTES, MAX_SIGNATURES, Signed};
pub use key::{KeyError, PublicKey};
pub use schema::{Fields, SchemaError};
pub use signature::{Signature, SignatureError};
pub use signer::{FileSigner, FileSignerError, KeyKind, Signer, SignerError};
pub use statement::{Preimage, Sealed, Statement, StatementError};
