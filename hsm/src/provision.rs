//! Making a token and its keys, for development and tests.
//!
//! Keys are made in the token and can never leave it ([`KeyOrder`]).

use std::path::Path;

use cryptoki::{session::UserType, slot::Slot, types::AuthPin};
use parking_lot::Mutex;
use sealwright_identity::KeyType;

use crate::{
    config::TokenSelector,
    error::Error,
    key::{KeyHandle, KeySelector},
    metrics::Metrics,
    module::{Module, SessionKind},
    order::KeyOrder,
    pin::Pin,
    slots::{self, TokenInfo},
    softhsm::TokenFolder,
    statement,
    token::Token,
};

/// Generating two keys at once fails now and then on SoftHSM.
static GENERATION: Mutex<()> = Mutex::new(());

/// Initialises the first free slot of the module as a token with this label
/// and sets its user PIN. No session may be open in the module.
///
/// # Errors
/// A token of that label exists, no slot is free, or the token refuses.
pub fn init_token(module: &Path, label: &str, so_pin: &Pin, user_pin: &Pin) -> Result<TokenInfo, Error> {
    let text = |pin: &Pin| -> Result<AuthPin, Error> {
        pin.text().map_err(|source| Error::Pin {
            token: label.to_owned(),
            source,
        })
    };
    let (so_pin, user_pin) = (text(so_pin)?, text(user_pin)?);
    let module = Module::load(module, &Metrics::default())?;
    let selector = TokenSelector::Label(label.to_owned());
    match slots::find(&module, &selector) {
        Err(Error::TokenAbsent { .. }) => {}
        Err(error @ (Error::Module(_) | Error::Call { .. })) => return Err(error),
        _ => {
            return Err(Error::Exists {
                what: format!("a token with the label `{label}`"),
            });
        }
    }
    let slot = free_slot(&module)?;
    module
        .call("C_InitToken", |pkcs11| pkcs11.init_token(slot, &so_pin, label))
        .map_err(Error::call("initialising it"))?;
    // SoftHSM moves a new token to another slot, so it is found again.
    let found = slots::find(&module, &selector)?;
    let session = module
        .open_session(found.slot, SessionKind::ReadWrite)
        .map_err(Error::call("opening its first session"))?;
    session
        .call("C_Login", |session| session.login(UserType::So, Some(&so_pin)))
        .map_err(Error::call("logging in as security officer"))?;
    session
        .call("C_InitPIN", |session| session.init_pin(&user_pin))
        .map_err(Error::call("setting the user PIN"))?;
    // The end of the last session ends the login, too.
    drop(session);
    sync_softhsm()?;
    Ok(slots::find(&module, &selector)?.info)
}

/// Generates a key pair under a label and an id that no private key has yet.
///
/// # Errors
/// The label or the id is taken, the type is none that this crate signs with,
/// or the token refuses.
pub fn generate_key_pair(
    token: &Token,
    label: &str,
    id: &[u8],
    key_type: KeyType,
) -> Result<KeyHandle, Error> {
    let _one = GENERATION.lock();
    let selector = KeySelector::new(Some(label.to_owned()), Some(id.to_vec()))?;
    if statement::is_marked(id) {
        return Err(Error::KeyForStatements {
            selector: selector.to_string(),
        });
    }
    for taken in [
        KeySelector::new(Some(label.to_owned()), None)?,
        KeySelector::new(None, Some(id.to_vec()))?,
    ] {
        if token.count_keys(&taken)? != 0 {
            return Err(Error::Exists {
                what: format!("a private key {taken}"),
            });
        }
    }
    let order = KeyOrder {
        label: label.to_owned(),
        id: id.to_vec(),
        key_type,
        restrict: false,
    };
    generate(token, &order)?;
    sync_softhsm()?;
    token.find_unclaimed(&selector)
}

fn generate(token: &Token, order: &KeyOrder) -> Result<(), Error> {
    let (mechanism, public, private) = (order.mechanism()?, order.public(), order.private());
    let session = token
        .open_session(SessionKind::ReadWrite)
        .map_err(Error::call("opening a session to generate a key"))?;
    session
        .call("C_GenerateKeyPair", |session| {
            session.generate_key_pair(&mechanism, &public, &private)
        })
        .map_err(Error::call("generating a key"))?;
    Ok(())
}

fn free_slot(module: &Module) -> Result<Slot, Error> {
    let slots = module
        .call("C_GetSlotList", |pkcs11| pkcs11.get_slots_with_token())
        .map_err(Error::call("listing its slots"))?;
    slots
        .into_iter()
        .find(|slot| {
            module
                .call("C_GetTokenInfo", |pkcs11| pkcs11.get_token_info(*slot))
                .is_ok_and(|token| !token.token_initialized())
        })
        .ok_or(Error::NoFreeSlot)
}

/// SoftHSM syncs nothing, so a key just made may not outlive a power failure.
fn sync_softhsm() -> Result<(), Error> {
    match TokenFolder::from_environment() {
        Some(folder) => folder.sync(),
        None => Ok(()),
    }
}
