//! One `C_Login`: by a PIN that passes through this process, or by one that people type at the token's own pad.
//!
//! A PIN that passes through is remembered as refused before anybody hears of it ([`crate::attempt`]). One that is
//! typed at a pad is never known here, so there is nothing to remember: each try takes people at the pad, and no code
//! asks for a second one by itself.

use cryptoki::session::UserType;

use crate::{
    attempt::Attempts,
    error::Error,
    marker::{MarkerError, Refusal},
    module::{CallError, ModuleSession},
    pin::Pin,
    rv::Class,
};

/// How the PIN comes to the token.
pub(crate) enum Entry {
    /// Through this process.
    Typed { pin: Pin, attempts: Attempts },
    /// At a pad of the token (`CKF_PROTECTED_AUTHENTICATION_PATH`).
    Pad,
}

pub(crate) enum LoginError {
    Already,
    Other(Box<Error>),
}

impl LoginError {
    pub(crate) fn of(self, token: &str) -> Error {
        match self {
            // It would hide a wrong PIN: nobody tested ours.
            Self::Already => Error::AlreadyLoggedIn {
                token: token.to_owned(),
            },
            Self::Other(error) => *error,
        }
    }
}

impl Entry {
    /// One `C_Login` as user. A PIN of ours is written down before, and the answer before anybody hears of it.
    pub(crate) fn log_in(&self, token: &str, session: &ModuleSession) -> Result<(), LoginError> {
        match self {
            Self::Typed { pin, attempts } => typed(pin, attempts, token, session),
            Self::Pad => at_pad(UserType::User, token, session),
        }
    }
}

fn typed(pin: &Pin, attempts: &Attempts, token: &str, session: &ModuleSession) -> Result<(), LoginError> {
    let unwritten = |error: MarkerError| LoginError::Other(Box::new(error.into()));
    attempts.begin().map_err(unwritten)?;
    let answer = session.call("C_Login", |session| {
        session.login_with_raw(UserType::User, pin.raw())
    });
    let Err(source) = answer else {
        return attempts.succeeded().map_err(unwritten);
    };
    if source.class() == Class::Pin {
        if let Err(error) = attempts.refused(refusal_of(&source)) {
            // The attempt stays, and keeps the next start from another.
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "cannot write down that the PIN was refused"
            );
        }
        return Err(refused(token, source));
    }
    attempts.answered().map_err(unwritten)?;
    Err(other(source))
}

/// One `C_Login` without a PIN: the module comes back when people at the pad are done.
pub(crate) fn at_pad(user: UserType, token: &str, session: &ModuleSession) -> Result<(), LoginError> {
    let answer = session.call("C_Login", |session| session.login(user, None));
    answer.map_err(|source| not_at_pad(token, source))
}

/// What an error of a call that waited for people at a pad means.
pub(crate) fn not_at_pad(token: &str, source: CallError) -> LoginError {
    match source.rv() {
        "CKR_FUNCTION_CANCELED" | "CKR_CANCEL" | "CKR_FUNCTION_REJECTED" => {
            LoginError::Other(Box::new(Error::PadCancelled {
                token: token.to_owned(),
                source,
            }))
        }
        _ if source.class() == Class::Pin => refused(token, source),
        _ => other(source),
    }
}

fn refused(token: &str, source: CallError) -> LoginError {
    LoginError::Other(Box::new(Error::PinRefused {
        token: token.to_owned(),
        refusal: refusal_of(&source),
        source,
    }))
}

fn other(source: CallError) -> LoginError {
    if source.rv() == "CKR_USER_ALREADY_LOGGED_IN" {
        return LoginError::Already;
    }
    LoginError::Other(Box::new(Error::Call {
        doing: "logging in",
        source,
    }))
}

fn refusal_of(error: &CallError) -> Refusal {
    match error.rv() {
        "CKR_PIN_LOCKED" => Refusal::Locked,
        "CKR_PIN_EXPIRED" | "CKR_USER_PIN_NOT_INITIALIZED" | "CKR_NEW_PIN_MODE" => Refusal::Expired,
        _ => Refusal::Incorrect,
    }
}
