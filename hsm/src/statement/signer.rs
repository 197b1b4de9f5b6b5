//! Signing statements with a key on a token.

use std::{fmt, time::Duration};

use parking_lot::Mutex;
use sealwright_statement::{Preimage, PublicKey, Signature, Signer, SignerError};

use super::{PersonalToken, deviations, refuse_ceremony};
use crate::{
    ceremony::{facts, officer},
    error::Error,
    key::{KeyHandle, KeySelector},
    module::{ModuleSession, SessionKind},
    order::KeyOrder,
    pin::{Pin, PinError},
    signable::Signable,
    token::Token,
    within::within,
};

/// A person's key on a token that the person is logged in to. Its `Debug` names the public half only.
pub struct TokenSigner {
    public: PublicKey,
    limit: Duration,
    /// None once a call was lost: nothing more is asked of that module.
    open: Mutex<Option<Open>>,
}

/// The order matters: the session is closed before the login ends.
struct Open {
    session: ModuleSession,
    token: Token,
    key: KeyHandle,
}

impl TokenSigner {
    /// Finds the token, logs in, and finds the one key that fits. `pin` is asked with the token's label.
    ///
    /// # Errors
    /// No token or key fits or several do, the PIN is refused, the key is none for statements or is not guarded as one,
    /// or the module fails or does not answer. [`Error::is_pin`] tells those after which nobody may simply try again.
    pub fn open(
        at: &PersonalToken,
        key: &KeySelector,
        pin: impl FnOnce(&str) -> Result<Pin, PinError>,
    ) -> Result<Self, Error> {
        let selector = key.clone();
        let (open, public) = at.log_in(pin, "logging in and finding the key", move |token| {
            Open::new(token, &selector)
        })?;
        Ok(Self {
            public,
            limit: at.limit,
            open: Mutex::new(Some(open)),
        })
    }

    fn ask(&self, statement: &Preimage) -> Result<Signature, Box<dyn std::error::Error + Send + Sync>> {
        let mut place = self.open.lock();
        let open = place.take().ok_or("the token did not answer before")?;
        let what = Signable::Statement(statement.clone());
        let (open, answer) = within(self.limit, "signing", move || {
            let answer = officer::sign(&open.token, &open.session, &open.key, &what);
            Ok((open, answer))
        })?;
        *place = Some(open);
        let signature = Signature {
            key: self.public.clone(),
            bytes: answer?,
        };
        // What a token answers is not believed.
        signature.verify(statement)?;
        Ok(signature)
    }
}

impl Open {
    fn new(token: Token, selector: &KeySelector) -> Result<(Self, PublicKey), Error> {
        let key = token.find_statement_key(selector)?;
        let session = token
            .open_session(SessionKind::ReadOnly)
            .map_err(Error::call("opening a session to sign with"))?;
        refuse_ceremony(&token, &session)?;
        guarded(&session, &key)?;
        let public = public_half(&key)?;
        Ok((Self { session, token, key }, public))
    }
}

impl Signer for TokenSigner {
    fn public_key(&self) -> &PublicKey {
        &self.public
    }

    fn sign(&self, statement: &Preimage) -> Result<Signature, SignerError> {
        self.ask(statement).map_err(|source| SignerError {
            key: self.public.id(),
            source,
        })
    }
}

impl Drop for TokenSigner {
    fn drop(&mut self) {
        if let Some(open) = self.open.get_mut().take() {
            // Sessions are closed and the module finalised; nobody needs the answer.
            let _ = within(self.limit, "closing", move || {
                drop(open);
                Ok(())
            });
        }
    }
}

impl fmt::Debug for TokenSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenSigner")
            .field("public", &self.public)
            .finish_non_exhaustive()
    }
}

/// The public half, of a kind that statements are verified with.
pub(super) fn public_half(key: &KeyHandle) -> Result<PublicKey, Error> {
    PublicKey::from_spki(key.spki_der()).map_err(|source| Error::KeyOfStatements {
        selector: key.selector().to_string(),
        source,
    })
}

/// The key is still what it was made as.
fn guarded(session: &ModuleSession, key: &KeyHandle) -> Result<(), Error> {
    let selector = key.selector();
    let order = KeyOrder {
        label: selector.label().unwrap_or_default().to_owned(),
        id: selector.id().unwrap_or_default().to_owned(),
        key_type: key.key_type(),
        restrict: false,
    };
    let told = facts::read(session, key.resolved().handle, &officer::PRIVATE)?;
    match deviations("private", &told, order.expected_private()) {
        odd if odd.is_empty() => Ok(()),
        deviations => Err(Error::KeyUnguarded {
            selector: selector.to_string(),
            deviations,
        }),
    }
}
