//! Looking at a token without a login, for `sealwright check`.

use std::path::Path;

use serde::Serialize;

use crate::{
    attempt::{Attempt, MAX_UNANSWERED},
    config::TokenConfig,
    error::Error,
    marker::{PinMarker, Refusal},
    metrics::Metrics,
    slots::{self, PinState, TokenInfo},
    token,
};

/// What can be known about a token while it is left alone.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Inspection {
    /// What the token tells.
    pub token: TokenInfo,
    /// The names of its mechanisms, sorted.
    pub mechanisms: Vec<String>,
    /// Whether one login may be tried to test the PIN.
    pub login: LoginAdvice,
}

/// Whether a check may try the PIN.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum LoginAdvice {
    /// Yes, once.
    Once,
    /// No: the token's flags on the PIN are against it.
    TokenSays(PinState),
    /// No: a PIN was refused before, or may have been, and the marker is there.
    MarkerSays(Refusal),
}

/// Loads the module, finds the token and reads its flags and mechanisms. No
/// PIN is read and no login is made.
///
/// # Errors
/// The module does not load, the token is absent, or its marker is unreadable.
pub fn inspect(config: &TokenConfig, marker_dir: &Path) -> Result<Inspection, Error> {
    let (module, found) = token::locate(&config.module, &config.token, &Metrics::default())?;
    let mut mechanisms: Vec<String> = slots::mechanisms(&module, found.slot)?
        .iter()
        .map(ToString::to_string)
        .collect();
    mechanisms.sort();
    let refused = PinMarker::read(marker_dir)?.map(|marker| marker.refusal);
    let cut_off = Attempt::read(marker_dir)?
        .filter(|attempt| attempt.unanswered >= MAX_UNANSWERED)
        .map(|_| Refusal::Unanswered);
    let login = match (refused.or(cut_off), found.info.pin) {
        (Some(refusal), _) => LoginAdvice::MarkerSays(refusal),
        (None, PinState::Usable) => LoginAdvice::Once,
        (None, state) => LoginAdvice::TokenSays(state),
    };
    Ok(Inspection {
        token: found.info,
        mechanisms,
        login,
    })
}
