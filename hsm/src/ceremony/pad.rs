//! Making a token whose PINs are typed at its own pad: `C_InitToken` and `C_InitPIN` without a PIN.
//!
//! PKCS#11 has these calls made with a null pointer in the place of the PIN, which the binding cannot leave out. So two
//! functions of the module are called by its own table, and no more than two. The table is asked of the file that is
//! loaded already; a module that gives each loading a state of its own answers that it is not initialised.

use std::{ptr, sync::Arc, time::Duration};

use cryptoki::{
    context::Function,
    error::{Error as Pkcs11Error, Rv},
    session::UserType,
    slot::Slot,
};
use cryptoki_sys::{CK_FUNCTION_LIST, CK_SESSION_HANDLE, CK_SLOT_ID, CKR_OK, Pkcs11};

use super::{
    file::ModuleFile,
    module::{CeremonyModule, SeenToken, sync_softhsm},
};
use crate::{
    error::Error,
    login,
    module::{CallError, Module, SessionKind},
    within::within,
};

/// `CK_TOKEN_INFO.label`, in bytes; it is padded with blanks.
const LABEL: usize = 32;

impl CeremonyModule {
    /// Initialises the first free slot as a token of this label, while the new PIN of the security officer is typed at
    /// the token's own pad (`C_InitToken` without a PIN).
    ///
    /// # Errors
    /// There is none, nobody typed it within `limit`, or the module refuses.
    pub fn init_token_at_pad(&self, label: &str, limit: Duration) -> Result<(), Error> {
        let (module, table) = (Arc::clone(self.module()), table(self.file())?);
        let (slot, label) = (self.free()?.ok_or(Error::NoFreeSlot)?, label.to_owned());
        within(
            limit,
            "waiting for the security officer's PIN at its pad",
            move || init_token(&module, &table, slot, &label),
        )?;
        sync_softhsm()
    }
}

impl SeenToken {
    /// Logs in as security officer and sets the user PIN, while both are typed at the token's own pad (`C_Login` and
    /// `C_InitPIN` without a PIN).
    ///
    /// # Errors
    /// They were not typed within `limit`, or the token refuses.
    pub fn set_user_pin_at_pad(self, module: &CeremonyModule, limit: Duration) -> Result<(), Error> {
        let table = table(module.file())?;
        within(limit, "waiting for the PINs at its pad", move || {
            let (module, found) = self.into_parts();
            let label = &found.info.label;
            let session = module
                .open_session(found.slot, SessionKind::ReadWrite)
                .map_err(Error::call("opening its first session"))?;
            login::at_pad(UserType::So, label, &session).map_err(|error| error.of(label))?;
            session
                .call("C_InitPIN", |session| init_pin(&table, session.handle()))
                .map_err(refused(label))
        })?;
        sync_softhsm()
    }
}

fn init_token(module: &Module, table: &CK_FUNCTION_LIST, slot: Slot, label: &str) -> Result<(), Error> {
    let mut padded = [b' '; LABEL];
    for (place, byte) in padded.iter_mut().zip(label.bytes()) {
        *place = byte;
    }
    module
        .call("C_InitToken", |_| {
            call_init_token(table, slot.into(), &mut padded)
        })
        .map_err(refused(label))
}

fn refused(token: &str) -> impl FnOnce(CallError) -> Error {
    move |source| login::not_at_pad(token, source).of(token)
}

/// The functions of a module that is loaded.
#[expect(unsafe_code, reason = "the binding keeps its table to itself")]
fn table(file: &ModuleFile) -> Result<CK_FUNCTION_LIST, Error> {
    let unusable = || Error::PadUnsupported {
        path: file.path().to_owned(),
    };
    let mut list = ptr::null_mut();
    // SAFETY: the file is the module that this process has loaded and initialised, which is never unloaded; its function
    // writes one pointer, to a table that lives as long as the module.
    unsafe {
        let library = Pkcs11::new(file.descriptor()).map_err(|_| unusable())?;
        if library.C_GetFunctionList(&raw mut list) != CKR_OK || list.is_null() {
            return Err(unusable());
        }
        Ok(*list)
    }
}

#[expect(unsafe_code, reason = "the binding cannot leave the PIN out")]
fn call_init_token(
    table: &CK_FUNCTION_LIST,
    slot: CK_SLOT_ID,
    label: &mut [u8; LABEL],
) -> Result<(), Pkcs11Error> {
    let call = table.C_InitToken.ok_or(Pkcs11Error::NullFunctionPointer)?;
    // SAFETY: a null PIN of the length 0 is what PKCS#11 has for a pad; the label has the 32 bytes that it reads.
    let answer = unsafe { call(slot, ptr::null_mut(), 0, label.as_mut_ptr()) };
    Rv::from(answer).into_result(Function::InitToken)
}

#[expect(unsafe_code, reason = "the binding cannot leave the PIN out")]
fn init_pin(table: &CK_FUNCTION_LIST, session: CK_SESSION_HANDLE) -> Result<(), Pkcs11Error> {
    let call = table.C_InitPIN.ok_or(Pkcs11Error::NullFunctionPointer)?;
    // SAFETY: as above; the session is open.
    let answer = unsafe { call(session, ptr::null_mut(), 0) };
    Rv::from(answer).into_result(Function::InitPIN)
}
