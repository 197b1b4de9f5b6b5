//! A token that a quorum of its own must open before anybody can log in.
//!
//! The quorum is the token's: its members, its cards and its counting are not seen here. People are told what to do, and say
//! when it is done; only then is the login tried. A token that answers that it is not open yet is asked again only after
//! people said so again, and not at all once it counts wrong PINs.

use std::slice;

use sealwright_hsm::Pin;
use sealwright_hsm::ceremony::Officer;

use super::Session;
use crate::error::Error;
use crate::hands::{self, QUORUM};
use crate::plan::{HsmQuorum, TokenPlan};

/// How often people may say that a token is open in one start.
const MOST: u32 = 5;

/// What tokens answer to a login while they are not open.
const NOT_YET: [&str; 4] = [
    "CKR_FUNCTION_CANCELED",
    "CKR_FUNCTION_REJECTED",
    "CKR_USER_NOT_LOGGED_IN",
    "CKR_VENDOR_DEFINED",
];

impl Session<'_> {
    pub(super) fn log_in_opened(&mut self, token: &TokenPlan, quorum: &HsmQuorum) -> Result<Officer, Error> {
        let counted = self.seen(token)?.pin_state();
        self.opened(token, quorum, 1)?;
        let pin = self.pin(token)?;
        let mut number = 1;
        loop {
            let seen = self.seen(token)?;
            if seen.pin_state() != counted {
                return Err(Error::State(format!(
                    "the token {} says other things of its PIN than before ({:?}, not {counted:?}): nobody is asked again",
                    token.name,
                    seen.pin_state()
                )));
            }
            let again = pin.as_ref().map(|pin| Pin::join(slice::from_ref(pin)));
            match self.log_in_once(token, seen, again) {
                Err(error) if not_yet(&error) && number < MOST => {
                    number += 1;
                    let why = crate::transcript::chain(&error);
                    self.room
                        .say(&format!("the token {} is not open: {why}", token.name));
                    self.opened(token, quorum, number)?;
                }
                answer => return answer,
            }
        }
    }

    /// People say that the quorum opened the token.
    fn opened(&mut self, token: &TokenPlan, quorum: &HsmQuorum, number: u32) -> Result<(), Error> {
        let HsmQuorum {
            threshold,
            instruction,
        } = quorum;
        let limit = self.room.patience();
        self.room.say(&format!(
            "Now at the token {} ({:?}): {threshold} people of its own quorum open it. {instruction}",
            token.name, token.label
        ));
        self.room.say(&format!(
            "Waiting, for {limit} at most, until somebody says by words of the plan's digest that it is done."
        ));
        let (plan, room) = (self.approved.plan().digest(), &mut *self.room);
        let what = hands::opened(token, quorum);
        hands::attest(self.journal, &self.name, &call(token, number), &what, || {
            room.opened(&format!("{what}, under the plan"), &plan, number > 1)
        })
    }
}

/// The event by which people said it for the nth time.
pub(super) fn call(token: &TokenPlan, number: u32) -> String {
    format!("{QUORUM}/{}/{number}", token.name)
}

fn not_yet(error: &Error) -> bool {
    match error {
        Error::Token { source, .. } => source.return_value().is_some_and(|rv| NOT_YET.contains(&rv)),
        _ => false,
    }
}
