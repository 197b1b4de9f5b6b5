//! A PKCS#11 module that forwards every call to a real one, and fails when a control file says so.
//!
//! `FAULT_MODULE_REAL` names the real module, `FAULT_MODULE_CONTROL` the control file (its
//! format is in `control.rs`). Only tests load this; nothing of the product depends on it.

#![allow(
    unsafe_code,
    reason = "a PKCS#11 module is a table of C functions, and so is the one it wraps"
)]

/// Forwards a call to the real module's function of that name, after its fault.
macro_rules! forward {
    ($function:expr, $session:expr, $name:ident($($argument:expr),*)) => {{
        let Some(wrapped) = wrapped() else {
            return CKR_GENERAL_ERROR;
        };
        let fault = control::fault(&wrapped.control, $function, |_| true);
        if let Some(answer) = before(wrapped, fault.as_ref(), $session) {
            return answer;
        }
        let Some(real) = wrapped.real.$name else {
            return CKR_FUNCTION_NOT_SUPPORTED;
        };
        // SAFETY: the real module's function, with the arguments as the caller gave them.
        after(fault.as_ref(), unsafe { real($($argument),*) })
    }};
}

mod attributes;
mod control;
mod pad;
mod probe;

use std::{
    ffi::{c_uchar, c_void},
    mem,
    path::PathBuf,
    ptr,
    sync::OnceLock,
    thread,
};

use cryptoki_sys::{
    CK_ATTRIBUTE, CK_FLAGS, CK_FUNCTION_LIST, CK_MECHANISM, CK_NOTIFY, CK_OBJECT_HANDLE, CK_RV,
    CK_SESSION_HANDLE, CK_SLOT_ID, CK_ULONG, CKR_ARGUMENTS_BAD, CKR_DEVICE_REMOVED,
    CKR_FUNCTION_NOT_SUPPORTED, CKR_GENERAL_ERROR, CKR_OK, Pkcs11,
};

use crate::control::{Fault, Function};

/// The real module's functions, and the same with ours in the place of some.
struct Wrapped {
    real: CK_FUNCTION_LIST,
    ours: CK_FUNCTION_LIST,
    control: PathBuf,
}

static WRAPPED: OnceLock<Option<Wrapped>> = OnceLock::new();

/// The one symbol that a PKCS#11 module must have.
///
/// # Safety
/// As PKCS#11 has it: `list` is null or points to a pointer that may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn C_GetFunctionList(list: *mut *mut CK_FUNCTION_LIST) -> CK_RV {
    if list.is_null() {
        return CKR_ARGUMENTS_BAD;
    }
    let Some(wrapped) = WRAPPED.get_or_init(wrap) else {
        return CKR_GENERAL_ERROR;
    };
    // SAFETY: not null, and the caller lets us write it. The table is static, and nobody writes it.
    unsafe { *list = ptr::from_ref(&wrapped.ours).cast_mut() };
    CKR_OK
}

fn wrap() -> Option<Wrapped> {
    let path = std::env::var_os("FAULT_MODULE_REAL")?;
    let control = std::env::var_os("FAULT_MODULE_CONTROL")?.into();
    // SAFETY: the path is that of a PKCS#11 module, whose initialisers a test trusts.
    let library = unsafe { Pkcs11::new(path) }.ok()?;
    let get = *library.C_GetFunctionList.as_ref().ok()?;
    let mut list = ptr::null_mut();
    // SAFETY: the function is the module's own, and the pointer may be written.
    let answer = unsafe { get(&raw mut list) };
    if answer != CKR_OK || list.is_null() {
        return None;
    }
    // SAFETY: a module that answered CKR_OK points to its table, which lives as long as it is loaded.
    let real = unsafe { *list };
    // It is never unloaded: the table points into it.
    mem::forget(library);
    let ours = CK_FUNCTION_LIST {
        C_GetFunctionList: Some(C_GetFunctionList),
        C_Initialize: Some(initialize),
        C_GetTokenInfo: Some(pad::get_token_info),
        C_OpenSession: Some(open_session),
        C_Login: Some(pad::login),
        C_SignInit: Some(sign_init),
        C_Sign: Some(sign),
        C_InitToken: Some(pad::init_token),
        C_InitPIN: Some(pad::init_pin),
        C_CreateObject: Some(create_object),
        C_GenerateRandom: Some(generate_random),
        C_GenerateKeyPair: Some(generate_key_pair),
        C_GetAttributeValue: Some(attributes::get_attribute_value),
        ..real
    };
    Some(Wrapped { real, ours, control })
}

fn wrapped() -> Option<&'static Wrapped> {
    WRAPPED.get()?.as_ref()
}

/// Does what the fault of a call says that is done before it; an answer takes the call's place.
fn before(wrapped: &Wrapped, fault: Option<&Fault>, session: CK_SESSION_HANDLE) -> Option<CK_RV> {
    match fault? {
        Fault::Answer(answer) => return Some(*answer),
        Fault::Sleep(time) => thread::sleep(*time),
        Fault::Hang => loop {
            thread::park();
        },
        Fault::Segfault => {
            let nowhere = ptr::without_provenance_mut::<u8>(8);
            // SAFETY: it is not: the page is never mapped, so this ends the process, which is asked for.
            unsafe { nowhere.write_volatile(0) };
        }
        Fault::CloseSession => {
            let close = wrapped.real.C_CloseSession?;
            // SAFETY: the real module's function, with a handle as the caller gave it.
            unsafe { close(session) };
        }
        Fault::Logout => {
            let logout = wrapped.real.C_Logout?;
            // SAFETY: as above.
            unsafe { logout(session) };
        }
        Fault::Probe(report) => probe::run(report),
        Fault::WrongSignature | Fault::AbsurdLength(_) | Fault::Lost => {}
    }
    None
}

/// The answer that the caller gets of a call that was made.
fn after(fault: Option<&Fault>, answer: CK_RV) -> CK_RV {
    match fault {
        Some(Fault::Lost) if answer == CKR_OK => CKR_DEVICE_REMOVED,
        _ => answer,
    }
}

unsafe extern "C" fn initialize(arguments: *mut c_void) -> CK_RV {
    forward!(Function::Initialize, 0, C_Initialize(arguments))
}

unsafe extern "C" fn open_session(
    slot: CK_SLOT_ID,
    flags: CK_FLAGS,
    application: *mut c_void,
    notify: CK_NOTIFY,
    session: *mut CK_SESSION_HANDLE,
) -> CK_RV {
    forward!(
        Function::OpenSession,
        0,
        C_OpenSession(slot, flags, application, notify, session)
    )
}

unsafe extern "C" fn sign_init(
    session: CK_SESSION_HANDLE,
    mechanism: *mut CK_MECHANISM,
    key: CK_OBJECT_HANDLE,
) -> CK_RV {
    forward!(Function::SignInit, session, C_SignInit(session, mechanism, key))
}

unsafe extern "C" fn sign(
    session: CK_SESSION_HANDLE,
    data: *mut c_uchar,
    data_length: CK_ULONG,
    signature: *mut c_uchar,
    length: *mut CK_ULONG,
) -> CK_RV {
    let Some(wrapped) = wrapped() else {
        return CKR_GENERAL_ERROR;
    };
    // A signature is two calls: the first asks for the length alone, and only a wrong length is told there.
    let asks = signature.is_null();
    let fault = control::fault(&wrapped.control, Function::Sign, |fault| {
        matches!(fault, Fault::AbsurdLength(_)) == asks
    });
    if let Some(answer) = before(wrapped, fault.as_ref(), session) {
        return answer;
    }
    let Some(real) = wrapped.real.C_Sign else {
        return CKR_FUNCTION_NOT_SUPPORTED;
    };
    // SAFETY: the real module's function, with the arguments as the caller gave them.
    let answer = unsafe { real(session, data, data_length, signature, length) };
    if answer != CKR_OK || length.is_null() {
        return answer;
    }
    match fault {
        Some(Fault::AbsurdLength(absurd)) => {
            // SAFETY: the real module has just written it.
            unsafe { *length = absurd };
        }
        Some(Fault::WrongSignature) if !asks => {
            // SAFETY: the real module has just written that many bytes there, at least one.
            let signature = unsafe { std::slice::from_raw_parts_mut(signature, *length as usize) };
            if let Some(last) = signature.last_mut() {
                *last ^= 1;
            }
        }
        _ => {}
    }
    after(fault.as_ref(), answer)
}

unsafe extern "C" fn create_object(
    session: CK_SESSION_HANDLE,
    template: *mut CK_ATTRIBUTE,
    count: CK_ULONG,
    object: *mut CK_OBJECT_HANDLE,
) -> CK_RV {
    forward!(
        Function::CreateObject,
        session,
        C_CreateObject(session, template, count, object)
    )
}

unsafe extern "C" fn generate_random(
    session: CK_SESSION_HANDLE,
    bytes: *mut c_uchar,
    length: CK_ULONG,
) -> CK_RV {
    forward!(
        Function::GenerateRandom,
        session,
        C_GenerateRandom(session, bytes, length)
    )
}

unsafe extern "C" fn generate_key_pair(
    session: CK_SESSION_HANDLE,
    mechanism: *mut CK_MECHANISM,
    public: *mut CK_ATTRIBUTE,
    public_count: CK_ULONG,
    private: *mut CK_ATTRIBUTE,
    private_count: CK_ULONG,
    public_key: *mut CK_OBJECT_HANDLE,
    private_key: *mut CK_OBJECT_HANDLE,
) -> CK_RV {
    forward!(
        Function::GenerateKeyPair,
        session,
        C_GenerateKeyPair(
            session,
            mechanism,
            public,
            public_count,
            private,
            private_count,
            public_key,
            private_key
        )
    )
}
