//! The control file: what is to go wrong, read again at every call.
//!
//! One line a function, `FUNCTION=FAULT` or `FUNCTION=FAULT count:N` for the first `N` calls of a
//! process; `after:N` lets `N` calls through before. A missing or empty file lets everything through.
//! Counts begin anew when the text changes.
//!
//! Lines `attribute=private:TYPE:VALUE` and `attribute=public:TYPE:VALUE`, of which there may be many, have the
//! attributes of keys told otherwise, all in hexadecimal digits; `hide` as the value has one not told.
//!
//! Lines `pad-user=FILE` and `pad-so=FILE` give every token a PIN pad, at which somebody types what is in the file.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
    sync::Mutex,
    time::Duration,
};

use cryptoki_sys::{
    CK_ATTRIBUTE_TYPE, CK_OBJECT_CLASS, CK_RV, CK_ULONG, CK_UNAVAILABLE_INFORMATION, CKO_PRIVATE_KEY,
    CKO_PUBLIC_KEY, CKR_DEVICE_ERROR, CKR_DEVICE_MEMORY, CKR_DEVICE_REMOVED, CKR_FUNCTION_CANCELED,
    CKR_FUNCTION_NOT_SUPPORTED, CKR_GENERAL_ERROR, CKR_PIN_EXPIRED, CKR_PIN_INCORRECT, CKR_PIN_LOCKED,
    CKR_SESSION_HANDLE_INVALID, CKR_TOKEN_NOT_PRESENT, CKR_USER_NOT_LOGGED_IN, CKR_VENDOR_DEFINED,
};

/// A function that can be made to fail, under its name in the control file.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) enum Function {
    Initialize,
    TokenInfo,
    OpenSession,
    Login,
    SignInit,
    Sign,
    InitToken,
    InitPin,
    CreateObject,
    GenerateRandom,
    GenerateKeyPair,
}

impl Function {
    fn name(self) -> &'static str {
        match self {
            Self::Initialize => "initialize",
            Self::TokenInfo => "token_info",
            Self::OpenSession => "open_session",
            Self::Login => "login",
            Self::SignInit => "sign_init",
            Self::Sign => "sign",
            Self::InitToken => "init_token",
            Self::InitPin => "init_pin",
            Self::CreateObject => "create_object",
            Self::GenerateRandom => "generate_random",
            Self::GenerateKeyPair => "generate_key_pair",
        }
    }
}

/// What goes wrong.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Fault {
    /// The call is not made; this is its answer.
    Answer(CK_RV),
    /// The call is made, and its answer is lost with the device.
    Lost,
    /// The call is made late.
    Sleep(Duration),
    /// The call never comes back.
    Hang,
    /// The process crashes.
    Segfault,
    /// The signature has one bit turned over.
    WrongSignature,
    /// The signature's length is this.
    AbsurdLength(CK_ULONG),
    /// Somebody else closes the session first.
    CloseSession,
    /// Somebody else logs out first.
    Logout,
    /// What a hostile module would try is tried; what came of it is in this file.
    Probe(PathBuf),
}

/// Calls that were counted, of one text of the file.
#[derive(Debug, Default)]
struct Counted {
    text: String,
    calls: HashMap<Function, u64>,
}

static COUNTED: Mutex<Option<Counted>> = Mutex::new(None);

/// The fault of this call, which is counted when `counts` says so of the fault.
pub(crate) fn fault(file: &Path, function: Function, counts: impl Fn(&Fault) -> bool) -> Option<Fault> {
    let text = fs::read_to_string(file).ok()?;
    let words = text
        .lines()
        .find_map(|line| line.strip_prefix(function.name())?.strip_prefix('='))?;
    let mut words = words.split_whitespace();
    let fault = parse(words.next()?);
    if !counts(&fault) {
        return None;
    }
    let number = |name: &str| {
        let mut words = words.clone();
        words.find_map(|word| word.strip_prefix(name)?.parse::<u64>().ok())
    };
    let first = number("after:").unwrap_or(0);
    let last = first.saturating_add(number("count:").unwrap_or(u64::MAX));
    let Ok(mut counted) = COUNTED.lock() else {
        return Some(fault);
    };
    let counted = counted.get_or_insert_default();
    if counted.text != text {
        counted.calls.clear();
        counted.text.clone_from(&text);
    }
    let calls = counted.calls.entry(function).or_default();
    *calls += 1;
    (*calls > first && *calls <= last).then_some(fault)
}

/// What somebody types at the pad, if the tokens have one: as user, or as security officer.
pub(crate) fn at_pad(file: &Path, security_officer: bool) -> Option<Vec<u8>> {
    let text = fs::read_to_string(file).ok()?;
    let name = if security_officer { "pad-so=" } else { "pad-user=" };
    let typed = text.lines().find_map(|line| line.strip_prefix(name))?;
    Some(fs::read_to_string(typed.trim()).ok()?.trim_end().into())
}

/// An attribute that is told otherwise, or not at all.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct OddAttribute {
    /// `CKO_PRIVATE_KEY` or `CKO_PUBLIC_KEY`.
    pub(crate) class: CK_OBJECT_CLASS,
    pub(crate) kind: CK_ATTRIBUTE_TYPE,
    /// None when it is hidden.
    pub(crate) value: Option<Vec<u8>>,
}

/// The attributes that are told otherwise.
pub(crate) fn attributes(file: &Path) -> Vec<OddAttribute> {
    let text = fs::read_to_string(file).unwrap_or_default();
    let lines = text.lines().filter_map(|line| line.strip_prefix("attribute="));
    lines.filter_map(odd_attribute).collect()
}

fn odd_attribute(line: &str) -> Option<OddAttribute> {
    let mut parts = line.trim().splitn(3, ':');
    let class = match parts.next()? {
        "private" => CKO_PRIVATE_KEY,
        "public" => CKO_PUBLIC_KEY,
        _ => return None,
    };
    let kind = CK_ATTRIBUTE_TYPE::from_str_radix(parts.next()?, 16).ok()?;
    let value = match parts.next()? {
        "hide" => None,
        hex => {
            let octets = (0..hex.len()).step_by(2);
            let octets = octets.map(|at| u8::from_str_radix(hex.get(at..at + 2)?, 16).ok());
            Some(octets.collect::<Option<Vec<u8>>>()?)
        }
    };
    Some(OddAttribute { class, kind, value })
}

fn parse(word: &str) -> Fault {
    let (name, value) = word.split_once(':').unwrap_or((word, ""));
    match name {
        "lost" => Fault::Lost,
        "sleep" => Fault::Sleep(Duration::from_millis(value.parse().unwrap_or(0))),
        "hang" => Fault::Hang,
        "segfault" => Fault::Segfault,
        "wrong_signature" => Fault::WrongSignature,
        "absurd_length" => Fault::AbsurdLength(value.parse().unwrap_or(CK_UNAVAILABLE_INFORMATION)),
        "close_session" => Fault::CloseSession,
        "logout" => Fault::Logout,
        "probe" => Fault::Probe(value.into()),
        _ => Fault::Answer(return_value(name)),
    }
}

fn return_value(name: &str) -> CK_RV {
    match name {
        "function_canceled" => CKR_FUNCTION_CANCELED,
        "general_error" => CKR_GENERAL_ERROR,
        "device_error" => CKR_DEVICE_ERROR,
        "device_memory" => CKR_DEVICE_MEMORY,
        "device_removed" => CKR_DEVICE_REMOVED,
        "token_not_present" => CKR_TOKEN_NOT_PRESENT,
        "session_handle_invalid" => CKR_SESSION_HANDLE_INVALID,
        // As some vendors say that a token is not open yet.
        "vendor_defined" => CKR_VENDOR_DEFINED | 0x12,
        "user_not_logged_in" => CKR_USER_NOT_LOGGED_IN,
        "pin_locked" => CKR_PIN_LOCKED,
        "pin_expired" => CKR_PIN_EXPIRED,
        "pin_incorrect" => CKR_PIN_INCORRECT,
        // A word that is not known must not look like a module that works.
        _ => CKR_FUNCTION_NOT_SUPPORTED,
    }
}
