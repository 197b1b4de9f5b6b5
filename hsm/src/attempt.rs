//! A login on its way: what is written down before `C_Login`, so that a process
//! that ends before the token's answer is known does not forget that it asked.
//!
//! Without it a kill between the token's refusal and the marker would lose the
//! refusal, and each restart would try the same wrong PIN again. So an attempt
//! is on disk before the PIN goes to the token, and every answer takes it away,
//! a refusal only after its marker is on disk. A disk that cannot be written
//! means no login.
//!
//! An attempt that is found at a start was cut off, perhaps in the midst of a
//! good login (SoftHSM's takes milliseconds, a hung module's is ended by the
//! watchdog). The token is asked what it thinks: when it has counted wrong PINs
//! since the last good login, the attempt is taken for one of them, and none is
//! made again until another PIN is there or an operator resets it. When it has
//! counted none, the login is tried again. Some tokens never tell; for them the
//! tries without an answer are counted, and after [`MAX_UNANSWERED`] in a row an
//! operator is waited for, before a token that locks can be locked for good.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::{
    error::Error,
    marker::{self, MarkerError, PinMarker, Refusal},
    pin::Pin,
    slots::{PinState, TokenInfo},
};

/// The attempt's name in the folder of the marker.
pub(crate) const FILE: &str = "pin-attempt";

/// Logins with one PIN that may be cut off in a row.
pub(crate) const MAX_UNANSWERED: u32 = 3;

/// A login that was begun; as it lies on the disk.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Attempt {
    #[serde(flatten)]
    marker: PinMarker,
    /// Logins with this PIN that had no answer, this one counted in.
    pub(crate) unanswered: u32,
}

impl Attempt {
    /// Reads the attempt in `folder`, `None` when there is none.
    pub(crate) fn read(folder: &Path) -> Result<Option<Self>, MarkerError> {
        marker::read(&folder.join(FILE))
    }
}

/// What is remembered of the logins with one PIN of one token.
#[derive(Debug)]
pub(crate) struct Attempts {
    folder: PathBuf,
    /// For this PIN, its digest computed: a refusal is only to be written.
    marker: PinMarker,
    /// Those before that had no answer.
    unanswered: u32,
}

impl Attempts {
    /// Looks whether a login with this PIN may be tried.
    ///
    /// # Errors
    /// The PIN was refused before, or may have been; or what is remembered
    /// cannot be read.
    pub(crate) fn open(folder: &Path, token: &TokenInfo, pin: &Pin) -> Result<Self, Error> {
        let serial = &token.serial;
        if let Some(refused) = PinMarker::read(folder)?.filter(|marker| marker.names(serial, pin)) {
            return Err(Error::PinRemembered {
                token: token.label.clone(),
                refusal: refused.refusal,
            });
        }
        let attempt = Attempt::read(folder)?.filter(|attempt| attempt.marker.names(serial, pin));
        let unanswered = attempt.map_or(0, |attempt| attempt.unanswered.max(1));
        if unanswered > 0 {
            let counted = !matches!(token.pin, PinState::Usable);
            if counted || unanswered >= MAX_UNANSWERED {
                return Err(Error::PinRemembered {
                    token: token.label.clone(),
                    refusal: Refusal::Unanswered,
                });
            }
            tracing::warn!(
                token = %token.label,
                unanswered,
                "the last login was cut off; the token has counted no wrong PIN, so it is tried again"
            );
        }
        let marker = PinMarker::new(serial, pin, Refusal::Unanswered).map_err(|source| MarkerError {
            path: folder.join(FILE),
            source,
        })?;
        Ok(Self {
            folder: folder.to_owned(),
            marker,
            unanswered,
        })
    }

    /// Writes down that the PIN is about to go to the token; durable on return.
    pub(crate) fn begin(&self) -> Result<(), MarkerError> {
        let attempt = Attempt {
            marker: self.marker.clone(),
            unanswered: self.unanswered.saturating_add(1),
        };
        marker::write(&self.folder, FILE, &attempt)
    }

    /// The token took the PIN: nothing that was remembered counts any more.
    pub(crate) fn succeeded(&self) -> Result<(), MarkerError> {
        marker::reset_pin_marker(&self.folder).map(drop)
    }

    /// The token refused the PIN. Should this not be written, the attempt stays.
    pub(crate) fn refused(&self, refusal: Refusal) -> Result<(), MarkerError> {
        self.marker.refused(refusal).write(&self.folder)?;
        self.answered()
    }

    /// The token answered something that says nothing about the PIN.
    pub(crate) fn answered(&self) -> Result<(), MarkerError> {
        marker::remove(&self.folder, FILE).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(pin: PinState) -> TokenInfo {
        TokenInfo {
            label: "t".into(),
            serial: "s".into(),
            manufacturer: String::new(),
            model: String::new(),
            firmware: String::new(),
            slot: 0,
            library: String::new(),
            pin,
        }
    }

    fn pin(text: &str) -> Pin {
        Pin::new(text.as_bytes().to_vec())
    }

    fn refusal(folder: &Path, state: PinState, text: &str) -> Option<Refusal> {
        match Attempts::open(folder, &token(state), &pin(text)) {
            Ok(_) => None,
            Err(Error::PinRemembered { refusal, .. }) => Some(refusal),
            Err(error) => panic!("{error}"),
        }
    }

    #[test]
    fn a_login_that_was_cut_off_is_judged_by_what_the_token_counted() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        let attempts = Attempts::open(path, &token(PinState::Usable), &pin("1")).unwrap();
        attempts.begin().unwrap();
        // The process ends here, whatever the token says.
        for state in [PinState::CountLow, PinState::FinalTry] {
            assert_eq!(refusal(path, state, "1"), Some(Refusal::Unanswered));
        }
        assert_eq!(refusal(path, PinState::CountLow, "2"), None);
        assert_eq!(refusal(path, PinState::Usable, "1"), None);
    }

    #[test]
    fn a_token_that_never_tells_is_asked_a_few_times_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        for _ in 0..MAX_UNANSWERED {
            assert_eq!(refusal(path, PinState::Usable, "1"), None);
            let attempts = Attempts::open(path, &token(PinState::Usable), &pin("1")).unwrap();
            attempts.begin().unwrap();
        }
        assert_eq!(refusal(path, PinState::Usable, "1"), Some(Refusal::Unanswered));
        assert_eq!(refusal(path, PinState::Usable, "2"), None);
        assert!(marker::reset_pin_marker(path).unwrap());
        assert_eq!(refusal(path, PinState::Usable, "1"), None);
    }

    #[test]
    fn every_answer_takes_the_attempt_away() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        let attempts = Attempts::open(path, &token(PinState::Usable), &pin("1")).unwrap();
        attempts.begin().unwrap();
        attempts.answered().unwrap();
        assert!(Attempt::read(path).unwrap().is_none());
        attempts.begin().unwrap();
        attempts.refused(Refusal::Incorrect).unwrap();
        assert!(Attempt::read(path).unwrap().is_none());
        assert_eq!(refusal(path, PinState::Usable, "1"), Some(Refusal::Incorrect));
        attempts.succeeded().unwrap();
        assert_eq!(refusal(path, PinState::Usable, "1"), None);
    }

    #[test]
    fn no_login_without_a_place_to_remember_it() {
        let folder = tempfile::tempdir().unwrap();
        let gone = folder.path().join("gone");
        let attempts = Attempts::open(&gone, &token(PinState::Usable), &pin("1")).unwrap();
        assert!(attempts.begin().is_err());
    }
}
