//! A loaded module, before anybody is logged in.

use std::{path::Path, sync::Arc, time::Duration};

use cryptoki::{
    session::UserType,
    slot::{Slot, TokenInfo as RawTokenInfo},
    types::AuthPin,
};

use super::{
    facts::TokenFacts,
    file::{MappedFile, ModuleFile},
    officer::Officer,
};
use crate::{
    config::TokenSelector,
    error::Error,
    module::{Module, SessionKind},
    pin::Pin,
    slots::{self, Found, PinState},
    softhsm::TokenFolder,
    token::{self, Token},
    within::within,
};

/// A module that was loaded from the file that was hashed.
#[derive(Debug)]
pub struct CeremonyModule {
    module: Arc<Module>,
    /// Open as long as the module is used.
    file: ModuleFile,
    mapped: Vec<MappedFile>,
}

/// A token that was found; nobody is logged in to it.
#[derive(Debug)]
pub struct SeenToken {
    module: Arc<Module>,
    found: Found,
    facts: TokenFacts,
}

impl CeremonyModule {
    pub(super) fn new(module: Arc<Module>, file: ModuleFile, mapped: Vec<MappedFile>) -> Self {
        Self { module, file, mapped }
    }

    /// The module's digest.
    pub fn digest(&self) -> sealwright_identity::Digest {
        self.file.digest()
    }

    /// Every file that was mapped executable once the module was loaded.
    pub fn mapped(&self) -> &[MappedFile] {
        &self.mapped
    }

    /// The one token that fits, `None` when none does.
    ///
    /// # Errors
    /// Several fit, or the module fails.
    pub fn find(&self, selector: &TokenSelector) -> Result<Option<SeenToken>, Error> {
        let found = match slots::find(&self.module, selector) {
            Ok(found) => found,
            Err(Error::TokenAbsent { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        let facts = self.facts(found.slot, found.info.library.clone())?;
        Ok(Some(SeenToken {
            module: Arc::clone(&self.module),
            found,
            facts,
        }))
    }

    /// What the first token that was not initialised yet says of itself. Kryoptic tells no mechanisms before that: then
    /// there are none in it.
    ///
    /// # Errors
    /// The module fails.
    pub fn free_token(&self) -> Result<Option<TokenFacts>, Error> {
        let Some(slot) = self.free()? else {
            return Ok(None);
        };
        let library = self
            .module
            .call("C_GetInfo", |pkcs11| pkcs11.get_library_info())
            .map_err(Error::call("asking the module for its name"))?;
        let library = format!("{} {}", library.library_description(), library.library_version());
        let raw = self.token_info(slot)?;
        let mechanisms = match self.mechanisms(slot) {
            Err(error) if error.return_value() == Some("CKR_TOKEN_NOT_INITIALIZED") => Vec::new(),
            told => told?,
        };
        Ok(Some(TokenFacts::of(&raw, library, mechanisms)))
    }

    /// Initialises the first free slot as a token of this label (`C_InitToken`).
    ///
    /// # Errors
    /// There is none, or the module refuses.
    pub fn init_token(&self, label: &str, so_pin: &Pin) -> Result<(), Error> {
        let so_pin = text(label, so_pin)?;
        let slot = self.free()?.ok_or(Error::NoFreeSlot)?;
        self.module
            .call("C_InitToken", |pkcs11| pkcs11.init_token(slot, &so_pin, label))
            .map_err(Error::call("initialising it"))?;
        sync_softhsm()
    }

    fn facts(&self, slot: Slot, library: String) -> Result<TokenFacts, Error> {
        let raw = self.token_info(slot)?;
        Ok(TokenFacts::of(&raw, library, self.mechanisms(slot)?))
    }

    fn token_info(&self, slot: Slot) -> Result<RawTokenInfo, Error> {
        self.module
            .call("C_GetTokenInfo", |pkcs11| pkcs11.get_token_info(slot))
            .map_err(Error::call("asking the token for its name"))
    }

    fn mechanisms(&self, slot: Slot) -> Result<Vec<String>, Error> {
        let mut mechanisms: Vec<_> = slots::mechanisms(&self.module, slot)?
            .iter()
            .map(ToString::to_string)
            .collect();
        mechanisms.sort();
        Ok(mechanisms)
    }

    pub(super) fn module(&self) -> &Arc<Module> {
        &self.module
    }

    pub(super) fn file(&self) -> &ModuleFile {
        &self.file
    }

    pub(super) fn free(&self) -> Result<Option<Slot>, Error> {
        let slots = self
            .module
            .call("C_GetSlotList", |pkcs11| pkcs11.get_slots_with_token())
            .map_err(Error::call("listing its slots"))?;
        Ok(slots.into_iter().find(|slot| {
            self.module
                .call("C_GetTokenInfo", |pkcs11| pkcs11.get_token_info(*slot))
                .is_ok_and(|token| !token.token_initialized())
        }))
    }
}

impl SeenToken {
    /// What it says of itself.
    pub fn facts(&self) -> &TokenFacts {
        &self.facts
    }

    /// What it says of its user PIN.
    pub fn pin_state(&self) -> PinState {
        self.found.info.pin
    }

    pub(super) fn into_parts(self) -> (Arc<Module>, Found) {
        (self.module, self.found)
    }

    /// Whether it lets anybody log in, by its flags on the user PIN: to be known before a PIN is asked for.
    ///
    /// # Errors
    /// The PIN is locked, not set, or must be changed first.
    pub fn may_log_in(&self) -> Result<(), Error> {
        token::refuse_unusable(&self.found.info)
    }

    /// Logs in as security officer and sets the user PIN (`C_InitPIN`).
    ///
    /// # Errors
    /// The token refuses.
    pub fn set_user_pin(&self, so_pin: &Pin, user_pin: &Pin) -> Result<(), Error> {
        let label = &self.found.info.label;
        let (so_pin, user_pin) = (text(label, so_pin)?, text(label, user_pin)?);
        let session = self
            .module
            .open_session(self.found.slot, SessionKind::ReadWrite)
            .map_err(Error::call("opening its first session"))?;
        session
            .call("C_Login", |session| session.login(UserType::So, Some(&so_pin)))
            .map_err(Error::call("logging in as security officer"))?;
        session
            .call("C_InitPIN", |session| session.init_pin(&user_pin))
            .map_err(Error::call("setting the user PIN"))?;
        // The end of the last session ends the login, too.
        drop(session);
        sync_softhsm()
    }

    /// Logs in, once; `marker_dir` holds the PIN marker.
    ///
    /// # Errors
    /// [`Error::is_pin`] tells those after which nobody may simply try again.
    pub fn log_in(self, pin: Pin, marker_dir: &Path) -> Result<Officer, Error> {
        officer(Token::log_in_to(self.module, self.found, pin, marker_dir)?)
    }

    /// Logs in, once, while people type the PIN at the token's own pad (`C_Login` without a PIN).
    ///
    /// # Errors
    /// They did not within `limit`, gave up, or the token refuses. [`Error::is_pin`] as for [`Self::log_in`].
    pub fn log_in_at_pad(self, limit: Duration) -> Result<Officer, Error> {
        within(limit, "waiting for the PIN at its pad", move || {
            officer(Token::log_in_at_pad(self.module, self.found)?)
        })
    }
}

fn officer(token: Token) -> Result<Officer, Error> {
    let session = token
        .open_session(SessionKind::ReadWrite)
        .map_err(Error::call("opening a session that may write"))?;
    Ok(Officer::new(token, session))
}

/// SoftHSM syncs nothing.
pub(super) fn sync_softhsm() -> Result<(), Error> {
    TokenFolder::from_environment().map_or(Ok(()), |folder| folder.sync())
}

fn text(label: &str, pin: &Pin) -> Result<AuthPin, Error> {
    pin.text().map_err(|source| Error::Pin {
        token: label.to_owned(),
        source,
    })
}
