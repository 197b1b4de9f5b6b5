//! Tokens with a PIN pad: they say that they have one, and take a PIN only from there.
//!
//! What somebody types is in a file that the control file names. A PIN that a program gives is refused, so that a test
//! sees who gave it.

use cryptoki_sys::{
    CK_RV, CK_SESSION_HANDLE, CK_SLOT_ID, CK_TOKEN_INFO, CK_ULONG, CK_USER_TYPE,
    CKF_PROTECTED_AUTHENTICATION_PATH, CKR_ARGUMENTS_BAD, CKR_FUNCTION_NOT_SUPPORTED, CKR_GENERAL_ERROR,
    CKR_OK, CKU_SO,
};

use crate::{
    after, before,
    control::{self, Function},
    wrapped,
};

/// A PIN as C has it.
type Pin = (*mut u8, CK_ULONG);

/// The PIN that goes to the real module, and what holds it; none where it was given and a pad wants it typed.
fn entered(given: Pin, security_officer: bool) -> Option<(Pin, Vec<u8>)> {
    let typed = wrapped().and_then(|wrapped| control::at_pad(&wrapped.control, security_officer));
    let Some(mut typed) = typed else {
        return Some((given, Vec::new()));
    };
    if !given.0.is_null() || given.1 != 0 {
        return None;
    }
    Some(((typed.as_mut_ptr(), typed.len() as CK_ULONG), typed))
}

pub(crate) unsafe extern "C" fn get_token_info(slot: CK_SLOT_ID, info: *mut CK_TOKEN_INFO) -> CK_RV {
    let answer = forward!(Function::TokenInfo, 0, C_GetTokenInfo(slot, info));
    let pad = wrapped().is_some_and(|wrapped| control::at_pad(&wrapped.control, false).is_some());
    if answer == CKR_OK && pad && !info.is_null() {
        // SAFETY: the real module has just written it.
        unsafe { (*info).flags |= CKF_PROTECTED_AUTHENTICATION_PATH };
    }
    answer
}

pub(crate) unsafe extern "C" fn login(
    session: CK_SESSION_HANDLE,
    user: CK_USER_TYPE,
    pin: *mut u8,
    length: CK_ULONG,
) -> CK_RV {
    let Some(((pin, length), _held)) = entered((pin, length), user == CKU_SO) else {
        return CKR_ARGUMENTS_BAD;
    };
    forward!(Function::Login, session, C_Login(session, user, pin, length))
}

pub(crate) unsafe extern "C" fn init_token(
    slot: CK_SLOT_ID,
    pin: *mut u8,
    length: CK_ULONG,
    label: *mut u8,
) -> CK_RV {
    let Some(((pin, length), _held)) = entered((pin, length), true) else {
        return CKR_ARGUMENTS_BAD;
    };
    forward!(Function::InitToken, 0, C_InitToken(slot, pin, length, label))
}

pub(crate) unsafe extern "C" fn init_pin(
    session: CK_SESSION_HANDLE,
    pin: *mut u8,
    length: CK_ULONG,
) -> CK_RV {
    let Some(((pin, length), _held)) = entered((pin, length), false) else {
        return CKR_ARGUMENTS_BAD;
    };
    forward!(Function::InitPin, session, C_InitPIN(session, pin, length))
}
