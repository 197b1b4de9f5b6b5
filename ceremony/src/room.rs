//! The people in the room, as the program meets them.

use sealwright_hsm::Pin;
use sealwright_identity::{Digest, HumanDuration};

use crate::error::Error;

/// How long people may take, unless somebody says otherwise.
pub const PATIENCE: HumanDuration = HumanDuration::from_secs(600);

/// Whose PIN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PinFor {
    /// The security officer's: it initialises a token.
    SecurityOfficer,
    /// The user's: it makes keys and signs.
    User,
}

/// Whoever shows what happens, and asks.
pub trait Room {
    /// Shows one line.
    fn say(&mut self, line: &str);

    /// Says what is about to happen and cannot be undone, and asks whether it shall.
    ///
    /// # Errors
    /// When it shall not, or nobody answers.
    fn go(&mut self, what: &str) -> Result<(), Error>;

    /// Asks for three words of a digest that is read aloud. How it was confirmed goes into the transcript.
    ///
    /// # Errors
    /// When other words were typed, or nobody answers.
    fn confirm(&mut self, what: &str, digest: &Digest) -> Result<String, Error>;

    /// Asks whether something was done that only people can know. How it was answered goes into the transcript.
    ///
    /// # Errors
    /// When it was not, or nobody answers.
    fn attest(&mut self, what: &str) -> Result<String, Error>;

    /// Shows what people are to do before a login, and waits, no longer than [`Room::patience`], until they say that it
    /// is done, by three words of a digest. `again` when the token was not satisfied. How it was said goes into the
    /// transcript.
    ///
    /// # Errors
    /// When it is not done, other words were typed, or nobody answers.
    fn opened(&mut self, what: &str, digest: &Digest, again: bool) -> Result<String, Error>;

    /// How long people may take for what they do at a token.
    fn patience(&self) -> HumanDuration {
        PATIENCE
    }

    /// What somebody wants to have written down now; asked at each checkpoint.
    ///
    /// # Errors
    /// When nobody answers.
    fn remarks(&mut self) -> Result<Vec<String>, Error>;

    /// A PIN of a token, in as many parts as the plan says.
    ///
    /// # Errors
    /// When there is none.
    fn pin(&mut self, token: &str, whose: PinFor, parts: u64) -> Result<Pin, Error>;
}
