//! The only crate that sees PKCS#11: the token, its PIN, its keys, and the
//! threads that sign.
//!
//! It is a library of the gate, of the ceremony, and of the commands by which a
//! person signs statements; nothing else in the product touches a token.
//! It neither decides what is signed nor records it, and it does not verify
//! what the token answers: the gate does all three.
//!
//! What it promises:
//!
//! * a PIN that a token refused is not tried again, not even after a restart
//!   ([`Error::is_pin`], [`reset_pin_marker`]);
//! * a key is one key, by label and id, or an error;
//! * only the structures of [`Signable`] are signed, never a bare digest, and
//!   each by keys of its own purpose ([`KeyPurpose`], [`statement`]);
//! * every request is answered by its deadline, whatever the module does;
//! * what a session, a login or a handle lost is repaired in place, and all
//!   else is reported by [`SessionPool::failed`], for the process to end
//!   (`rv` has the table).

mod asn1;
mod attempt;
pub mod ceremony;
pub mod config;
mod error;
mod inspect;
mod key;
mod login;
mod marker;
mod metrics;
mod module;
mod operation;
mod order;
pub mod pin;
mod pool;
pub mod provision;
mod public_key;
pub mod rv;
mod signable;
mod slots;
pub mod softhsm;
pub mod statement;
mod token;
pub mod uri;
mod within;

pub use config::{PinSource, TokenConfig, TokenSelector};
pub use error::{CallError, Error, MarkerError, ModuleError, PinError, PublicKeyError, Refusal};
pub use inspect::{Inspection, LoginAdvice, inspect};
pub use key::{KeyHandle, KeyProtection, KeyPurpose, KeySelector, KeySelectorError};
pub use marker::{PinMarker, reset_pin_marker};
pub use metrics::{Metrics, Repair};
pub use pin::Pin;
pub use pool::{PoolConfig, PoolFailure, SessionPool, SignError};
pub use signable::{Probe, Signable};
pub use slots::{PinState, TokenInfo};
pub use token::Token;
pub use uri::Pkcs11Uri;
