//! What can go wrong with a token before a signature is asked of it.

use std::{io, path::PathBuf};

use thiserror::Error;

pub use crate::{
    marker::{MarkerError, Refusal},
    module::{CallError, ModuleError},
    pin::PinError,
    public_key::PublicKeyError,
};

/// A token, its PIN or one of its keys cannot be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// The module.
    #[error(transparent)]
    Module(#[from] ModuleError),
    /// A call failed that no better text is known for.
    #[error("the token failed while {doing}")]
    Call {
        /// What was to be done.
        doing: &'static str,
        /// The call.
        source: CallError,
    },
    /// No token fits.
    #[error("no token {selector} in this module; it has: {}", list(seen))]
    TokenAbsent {
        /// What was asked for.
        selector: String,
        /// Labels of the tokens that are there.
        seen: Vec<String>,
    },
    /// More than one token fits.
    #[error("{count} tokens fit {selector}: choose by serial number")]
    TokenAmbiguous {
        /// What was asked for.
        selector: String,
        /// How many fit.
        count: usize,
    },
    /// There is no PIN to try.
    #[error("no PIN for the token {token}")]
    Pin {
        /// The token's label.
        token: String,
        /// Why.
        source: PinError,
    },
    /// The token refused the PIN just now, and the marker was written.
    #[error("the token {token} refused the PIN: {refusal}; it is not tried again")]
    PinRefused {
        /// The token's label.
        token: String,
        /// Why.
        refusal: Refusal,
        /// The call.
        source: CallError,
    },
    /// The token says by itself that no PIN can be used; none was tried.
    #[error("the token {token} takes no PIN: {refusal}; none was tried")]
    PinUnusable {
        /// The token's label.
        token: String,
        /// Why.
        refusal: Refusal,
    },
    /// The marker says that this very PIN was refused before, or that logins
    /// with it were cut off; none was tried.
    #[error(
        "the token {token} refused this PIN before ({refusal}); it was not tried again: \
         correct the PIN source, or reset the PIN marker"
    )]
    PinRemembered {
        /// The token's label.
        token: String,
        /// Why.
        refusal: Refusal,
    },
    /// Somebody gave up at the pad, or the pad did.
    #[error("the PIN of the token {token} was not given at its pad; it is not asked for again by itself")]
    PadCancelled {
        /// The token's label.
        token: String,
        /// The call.
        source: CallError,
    },
    /// The functions that take no PIN cannot be reached.
    #[error("the PKCS#11 module {} cannot be asked to take a new PIN at a pad: use the vendor's tool", path.display())]
    PadUnsupported {
        /// The file.
        path: PathBuf,
    },
    /// Only people can log in again.
    #[error("the login to the token {token} was lost, and its PIN is given at its pad")]
    PadUnattended {
        /// The token's label.
        token: String,
    },
    /// The marker cannot be read.
    #[error(transparent)]
    Marker(#[from] MarkerError),
    /// Somebody in this process is logged in already, so the PIN would not be
    /// tested.
    #[error("this process is logged in to the token {token} already")]
    AlreadyLoggedIn {
        /// The token's label.
        token: String,
    },
    /// A key is named by a label, an id or both.
    #[error("a key is chosen by `object`, `id` or both")]
    KeySelector,
    /// No private key fits.
    #[error("no private key {selector} in the token")]
    KeyAbsent {
        /// What was asked for.
        selector: String,
    },
    /// More than one private key fits: labels are not unique in PKCS#11.
    #[error("{count} private keys fit {selector}: name one by its id")]
    KeyAmbiguous {
        /// What was asked for.
        selector: String,
        /// How many fit.
        count: usize,
    },
    /// `CKA_ALWAYS_AUTHENTICATE` is set.
    #[error(
        "the key {selector} wants the PIN for every signature (CKA_ALWAYS_AUTHENTICATE); \
         such a key cannot be used unattended"
    )]
    KeyAlwaysAuthenticate {
        /// What was asked for.
        selector: String,
    },
    /// `CKA_SIGN` is not set.
    #[error("the key {selector} is not allowed to sign (CKA_SIGN)")]
    KeyNotForSigning {
        /// What was asked for.
        selector: String,
    },
    /// No public key, more than one, or one that is not supported.
    #[error("the public key of {selector} cannot be used")]
    KeyPublic {
        /// What was asked for.
        selector: String,
        /// Why.
        source: PublicKeyError,
    },
    /// The token has no mechanism for this kind of key.
    #[error("the token has no {mechanism}, which the key {selector} needs")]
    MechanismMissing {
        /// What was asked for.
        selector: String,
        /// The mechanism.
        mechanism: String,
    },
    /// The key that is found now is not the one that was found first.
    #[error("the key {selector} is another one than it was")]
    KeyChanged {
        /// What was asked for.
        selector: String,
    },
    /// A health key may not sign certificates, nor the reverse.
    #[error("the key {selector} serves as health key and as issuing key; it may be only one")]
    KeyPurpose {
        /// What was asked for.
        selector: String,
    },
    /// A key that was not made for statements is asked for one.
    #[error(
        "the key {selector} was not made for statements: a person's key is made by \
         `sealwright policy keygen --on`, and no other signs them"
    )]
    KeyNotForStatements {
        /// What was asked for.
        selector: String,
    },
    /// A person's key is asked for something else.
    #[error("the key {selector} was made for the statements of a person: it signs nothing else")]
    KeyForStatements {
        /// What was asked for.
        selector: String,
    },
    /// A person's key is not guarded as it was when it was made.
    #[error("the key {selector} is not one that can only sign and never leave its token: {}", deviations.join("; "))]
    KeyUnguarded {
        /// What was asked for.
        selector: String,
        /// Every attribute that is not as it must be.
        deviations: Vec<String>,
    },
    /// The public half is none that statements are verified with.
    #[error("the key {selector} cannot sign statements")]
    KeyOfStatements {
        /// What was asked for.
        selector: String,
        /// Why.
        source: sealwright_statement::KeyError,
    },
    /// The token holds the keys of a ceremony.
    #[error("the token {token} has seen a key ceremony: people's keys belong on tokens of their own")]
    CeremonyToken {
        /// The token's label.
        token: String,
    },
    /// No id could be drawn.
    #[error("the system has no random bytes")]
    NoRandom,
    /// The module does not come back from a call.
    #[error("the token did not answer within {limit:?} while {doing}")]
    Silent {
        /// What was to be done.
        doing: &'static str,
        /// How long was waited.
        limit: std::time::Duration,
    },
    /// The thread that asks the token cannot run, or broke off: a fault of this machine, not of the token.
    #[error("the program's own thread did not run to its end while {doing}")]
    NoThread {
        /// What was to be done.
        doing: &'static str,
    },
    /// Provisioning would make a second token or key of that name.
    #[error("{what} exists already")]
    Exists {
        /// What.
        what: String,
    },
    /// No slot with a token that was not initialised yet.
    #[error("the module has no slot that is free for a new token")]
    NoFreeSlot,
    /// A key that this crate does not generate.
    #[error("keys of type {0} are not generated here")]
    KeyTypeUnsupported(sealwright_identity::KeyType),
    /// The file that is loaded is not the one that was hashed.
    #[error("the PKCS#11 module {} was changed while it was loaded", path.display())]
    ModuleReplaced {
        /// The file.
        path: PathBuf,
    },
    /// A signature cannot be asked for, or what came back is none.
    #[error("the token's signature cannot be used: {reason}")]
    Signature {
        /// Why.
        reason: String,
    },
    /// A vendor's attribute is longer than what is kept of one.
    #[error("the attribute {kind:#010x} has {octets} octets: at most {most} are read")]
    AttributeTooLong {
        /// Which.
        kind: u32,
        /// How long it is.
        octets: usize,
        /// How long it may be.
        most: usize,
    },
    /// The token's files could not be written or synced.
    #[error("cannot use {}", path.display())]
    Files {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl Error {
    /// True when the PIN is at fault, so that nobody may simply start again:
    /// refused now or before, unusable, or from a source that is read once.
    pub fn is_pin(&self) -> bool {
        match self {
            Self::PinRefused { .. }
            | Self::PinUnusable { .. }
            | Self::PinRemembered { .. }
            | Self::PadCancelled { .. }
            | Self::PadUnattended { .. } => true,
            Self::Pin { source, .. } => source.needs_operator(),
            _ => false,
        }
    }

    /// The name of the return value of the call that failed, if one did.
    pub fn return_value(&self) -> Option<&'static str> {
        match self {
            Self::Call { source, .. }
            | Self::PinRefused { source, .. }
            | Self::PadCancelled { source, .. } => Some(source.rv()),
            _ => None,
        }
    }

    pub(crate) fn call(doing: &'static str) -> impl FnOnce(CallError) -> Self {
        move |source| Self::Call { doing, source }
    }
}

fn list(labels: &[String]) -> String {
    if labels.is_empty() {
        "none".to_owned()
    } else {
        labels.join(", ")
    }
}
