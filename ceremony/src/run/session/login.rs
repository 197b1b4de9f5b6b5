//! Tokens that are made and logged in to, with PINs that are given here or at a pad of theirs.
//!
//! Nothing is tried twice by itself: whoever wants another try starts again with `--resume`.

use sealwright_hsm::ceremony::{Officer, SeenToken};
use sealwright_hsm::{Pin, PinState, TokenSelector};

use super::{Done, Session, ToToken, looking, selector, step};
use crate::error::Error;
use crate::hands::{self, PAD};
use crate::journal::Attempt;
use crate::plan::{PinEntry, TokenPlan};
use crate::preconditions::stage;
use crate::room::PinFor;

impl Session<'_> {
    pub(super) fn log_in(&mut self, token: &TokenPlan) -> Result<Officer, Error> {
        let seen = self.seen(token)?;
        if !seen.facts().user_pin_set {
            return Err(stage(1, format!("the token {} has no user PIN", token.name)));
        }
        match &token.hsm_quorum {
            Some(quorum) => self.log_in_opened(token, quorum),
            None => {
                seen.may_log_in().map_err(Error::token("logging in"))?;
                let pin = self.pin(token)?;
                self.log_in_once(token, seen, pin)
            }
        }
    }

    /// The PIN, where it is given here.
    pub(super) fn pin(&mut self, token: &TokenPlan) -> Result<Option<Pin>, Error> {
        match token.pin {
            PinEntry::Typed => {
                let pin = self.room.pin(token.name.as_str(), PinFor::User, token.pin_parts);
                pin.map(Some)
            }
            PinEntry::Pad => Ok(None),
        }
    }

    /// One `C_Login`: with this PIN, or without one at a pad.
    pub(super) fn log_in_once(
        &mut self,
        token: &TokenPlan,
        seen: SeenToken,
        pin: Option<Pin>,
    ) -> Result<Officer, Error> {
        let at_pad = pin.is_none();
        if at_pad {
            self.warn_of_tries(token, &seen)?;
            self.send_to_pad(token, "the user PIN");
        }
        let (limit, state) = (self.room.patience().get(), &self.place.state);
        let call = format!("C_Login/{}", token.name);
        let mut officer = None;
        self.journal
            .perform(&self.name, &call, &ToToken::of(token), |_| {
                let logged_in = match pin {
                    Some(pin) => seen.log_in(pin, state),
                    None => seen.log_in_at_pad(limit),
                };
                officer = Some(logged_in.map_err(Error::token("logging in"))?);
                Ok(Done {})
            })?;
        if at_pad {
            let call = format!("{PAD}/{}", token.name);
            let (what, room) = (hands::typed_at_pad(token), &mut *self.room);
            hands::attest(self.journal, &self.name, &call, &what, || room.attest(&what))?;
        }
        officer.ok_or_else(|| Error::Internal("a session logs in once".to_owned()))
    }

    pub(super) fn seen(&self, token: &TokenPlan) -> Result<SeenToken, Error> {
        self.module
            .find(&selector(token))
            .map_err(looking)?
            .ok_or_else(|| stage(1, format!("the token {} is not there", token.name)))
    }

    /// Makes a token out of a free slot; what a crash left half-made is gone on with.
    pub(super) fn initialize(&mut self, token: &TokenPlan) -> Result<(), Error> {
        self.room.go(&format!(
            "initialise a free slot as the token {:?} ({})",
            token.label, token.name
        ))?;
        match token.pin {
            PinEntry::Typed => self.initialize_typed(token),
            PinEntry::Pad => self.initialize_at_pad(token),
        }
    }

    fn initialize_typed(&mut self, token: &TokenPlan) -> Result<(), Error> {
        let (step, intent) = (step(token), ToToken::of(token));
        let by_label = TokenSelector::Label(token.label.clone());
        let so_pin = self
            .room
            .pin(token.name.as_str(), PinFor::SecurityOfficer, token.pin_parts)?;
        let module = &self.module;
        self.journal.perform(&step, "C_InitToken", &intent, |attempt| {
            if attempt == Attempt::First || module.find(&by_label).map_err(looking)?.is_none() {
                module
                    .init_token(&token.label, &so_pin)
                    .map_err(Error::token("initialising a token"))?;
            }
            Ok(Done {})
        })?;
        let pin = self
            .room
            .pin(token.name.as_str(), PinFor::User, token.pin_parts)?;
        self.journal.perform(&step, "C_InitPIN", &intent, |_| {
            self.module
                .find(&by_label)
                .map_err(looking)?
                .ok_or_else(not_found)?
                .set_user_pin(&so_pin, &pin)
                .map_err(Error::token("setting the user PIN"))?;
            Ok(Done {})
        })?;
        Ok(())
    }

    fn initialize_at_pad(&mut self, token: &TokenPlan) -> Result<(), Error> {
        let (step, intent) = (step(token), ToToken::of(token));
        let by_label = TokenSelector::Label(token.label.clone());
        let limit = self.room.patience().get();
        if !self.journal.is_answered(&step, "C_InitToken") {
            self.send_to_pad(token, "a new PIN of the security officer");
        }
        let module = &self.module;
        self.journal.perform(&step, "C_InitToken", &intent, |attempt| {
            if attempt == Attempt::First || module.find(&by_label).map_err(looking)?.is_none() {
                module
                    .init_token_at_pad(&token.label, limit)
                    .map_err(Error::token("initialising a token"))?;
            }
            Ok(Done {})
        })?;
        self.send_to_pad(token, "the PIN of the security officer, and then a new user PIN");
        let module = &self.module;
        self.journal.perform(&step, "C_InitPIN", &intent, |_| {
            module
                .find(&by_label)
                .map_err(looking)?
                .ok_or_else(not_found)?
                .set_user_pin_at_pad(module, limit)
                .map_err(Error::token("setting the user PIN"))?;
            Ok(Done {})
        })?;
        Ok(())
    }

    /// What people say of the making of a token is asked for once, whichever start made it.
    pub(super) fn attest_making(&mut self, token: &TokenPlan) -> Result<(), Error> {
        if !token.initialize || token.pin == PinEntry::Typed {
            return Ok(());
        }
        let (what, room) = (hands::made_at_pad(token), &mut *self.room);
        hands::attest(self.journal, &step(token), PAD, &what, || room.attest(&what))
    }

    /// Says who is to do what at a pad, and that it waits.
    fn send_to_pad(&mut self, token: &TokenPlan, what: &str) {
        let who = match token.pin_parts {
            1 => "whoever has it types".to_owned(),
            parts => format!("{parts} people, one after the other, type their part of"),
        };
        let limit = self.room.patience();
        self.room.say(&format!(
            "Now at the pad of the token {} ({:?}): {who} {what}. Nothing is typed here; waiting, for {limit} at most.",
            token.name, token.label
        ));
    }

    /// A token that counted wrong PINs may lock for good with the next: people are told before they type.
    fn warn_of_tries(&mut self, token: &TokenPlan, seen: &SeenToken) -> Result<(), Error> {
        let name = &token.name;
        match seen.pin_state() {
            PinState::FinalTry => self.room.go(&format!(
                "the PIN of the token {name} is typed for the last time: one that is wrong locks it"
            )),
            PinState::CountLow => {
                self.room
                    .say(&format!("the token {name} says that wrong PINs were tried on it"));
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

fn not_found() -> Error {
    Error::State("the new token is not found again".to_owned())
}
