//! Finding the one token that the configuration means, and what it says of
//! itself.

use std::sync::Arc;

use cryptoki::{
    context::Info,
    mechanism::MechanismType,
    slot::{Slot, SlotInfo, TokenInfo as RawTokenInfo},
};
use serde::Serialize;

use crate::{
    config::{Pkcs11Uri, TokenSelector},
    error::Error,
    module::Module,
};

/// What a token tells without a login.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct TokenInfo {
    /// Its label.
    pub label: String,
    /// Its serial number.
    pub serial: String,
    /// Who made it.
    pub manufacturer: String,
    /// Its model.
    pub model: String,
    /// Its firmware's version.
    pub firmware: String,
    /// The slot it is in.
    pub slot: u64,
    /// The module's own description and version.
    pub library: String,
    /// What it says about the user PIN.
    pub pin: PinState,
}

/// The token's flags on the user PIN.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum PinState {
    /// Nothing is said against a login.
    Usable,
    /// `CKF_USER_PIN_COUNT_LOW`: a wrong PIN was tried since the last login.
    CountLow,
    /// `CKF_USER_PIN_FINAL_TRY`: one more wrong PIN locks the token.
    FinalTry,
    /// `CKF_USER_PIN_LOCKED`.
    Locked,
    /// The user PIN was never set.
    NotSet,
    /// `CKF_USER_PIN_TO_BE_CHANGED`: nothing but a change is allowed.
    ToBeChanged,
}

impl PinState {
    fn of(info: &RawTokenInfo) -> Self {
        if info.user_pin_locked() {
            Self::Locked
        } else if !info.user_pin_initialized() {
            Self::NotSet
        } else if info.user_pin_final_try() {
            Self::FinalTry
        } else if info.user_pin_to_be_changed() {
            Self::ToBeChanged
        } else if info.user_pin_count_low() {
            Self::CountLow
        } else {
            Self::Usable
        }
    }
}

/// A token that was found.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) slot: Slot,
    pub(crate) info: TokenInfo,
}

/// The one token that fits; none and several are errors.
pub(crate) fn find(module: &Arc<Module>, selector: &TokenSelector) -> Result<Found, Error> {
    let library = module
        .call("C_GetInfo", |pkcs11| pkcs11.get_library_info())
        .map_err(Error::call("asking the module for its name"))?;
    let slots = module
        .call("C_GetSlotList", |pkcs11| pkcs11.get_slots_with_token())
        .map_err(Error::call("listing its slots"))?;
    let mut seen = Vec::new();
    let mut fitting = Vec::new();
    for slot in slots {
        // One odd slot must not hide the others.
        let Ok(token) = module.call("C_GetTokenInfo", |pkcs11| pkcs11.get_token_info(slot)) else {
            continue;
        };
        if !token.token_initialized() {
            continue;
        }
        seen.push(token.label().to_owned());
        if fits(module, selector, &library, slot, &token) {
            fitting.push(Found {
                slot,
                info: describe(&library, slot, &token),
            });
        }
    }
    match (fitting.pop(), fitting.len()) {
        (Some(found), 0) => Ok(found),
        (None, _) => Err(Error::TokenAbsent {
            selector: text(selector),
            seen,
        }),
        (Some(_), others) => Err(Error::TokenAmbiguous {
            selector: text(selector),
            count: others + 1,
        }),
    }
}

/// The names of the mechanisms that the binding knows.
pub(crate) fn mechanisms(module: &Module, slot: Slot) -> Result<Vec<MechanismType>, Error> {
    module
        .call("C_GetMechanismList", |pkcs11| pkcs11.get_mechanism_list(slot))
        .map_err(Error::call("listing its mechanisms"))
}

fn describe(library: &Info, slot: Slot, token: &RawTokenInfo) -> TokenInfo {
    TokenInfo {
        label: token.label().to_owned(),
        serial: token.serial_number().to_owned(),
        manufacturer: token.manufacturer_id().to_owned(),
        model: token.model().to_owned(),
        firmware: token.firmware_version().to_string(),
        slot: slot.id(),
        library: format!("{} {}", library.library_description(), library.library_version()),
        pin: PinState::of(token),
    }
}

fn fits(module: &Module, selector: &TokenSelector, library: &Info, slot: Slot, token: &RawTokenInfo) -> bool {
    match selector {
        TokenSelector::Label(label) => token.label() == label,
        TokenSelector::Serial(serial) => token.serial_number() == serial,
        TokenSelector::Uri(uri) => {
            same(&uri.token, token.label())
                && same(&uri.serial, token.serial_number())
                && same(&uri.manufacturer, token.manufacturer_id())
                && same(&uri.model, token.model())
                && library_fits(uri, library)
                && slot_fits(module, uri, slot)
        }
    }
}

fn library_fits(uri: &Pkcs11Uri, library: &Info) -> bool {
    let version = library.library_version();
    // RFC 7512 section 2.4: a version without a minor part is that of ".0".
    let wanted = |text: &str| {
        let (major, minor) = text.split_once('.').unwrap_or((text, "0"));
        (major.parse(), minor.parse()) == (Ok(version.major()), Ok(version.minor()))
    };
    same(&uri.library_manufacturer, library.manufacturer_id())
        && same(&uri.library_description, library.library_description())
        && uri.library_version.as_deref().is_none_or(wanted)
}

fn slot_fits(module: &Module, uri: &Pkcs11Uri, slot: Slot) -> bool {
    if uri.slot_id.is_some_and(|id| id != slot.id()) {
        return false;
    }
    if uri.slot_description.is_none() && uri.slot_manufacturer.is_none() {
        return true;
    }
    let info: Option<SlotInfo> = module
        .call("C_GetSlotInfo", |pkcs11| pkcs11.get_slot_info(slot))
        .ok();
    info.is_some_and(|info| {
        same(&uri.slot_description, info.slot_description())
            && same(&uri.slot_manufacturer, info.manufacturer_id())
    })
}

fn same(wanted: &Option<String>, actual: &str) -> bool {
    wanted.as_deref().is_none_or(|wanted| wanted == actual)
}

fn text(selector: &TokenSelector) -> String {
    match selector {
        TokenSelector::Uri(uri) => uri.to_string(),
        TokenSelector::Label(label) => format!("with the label `{label}`"),
        TokenSelector::Serial(serial) => format!("with the serial number `{serial}`"),
    }
}
