//! The people in the room, at a terminal: questions on standard error, answers from standard input.

use std::{
    io::{self, BufRead, Write},
    sync::mpsc,
    thread,
};

use sealwright_ceremony::{Error, PATIENCE, PinFor, Room};
use sealwright_hsm::{Pin, PinSource};
use sealwright_identity::{Digest, HumanDuration};
use sealwright_statement::words::words;

use crate::{
    args::PinArg,
    failure::{Class, Failure, OrFail},
};

/// How many words of a digest are typed.
const TYPED: usize = 3;

/// The longest answer that is read.
const LONGEST: u64 = 1024;

pub(super) struct Terminal<'a> {
    /// In a rehearsal, nobody may be asked.
    pub(super) silent: bool,
    pub(super) pins: &'a [PinArg],
    pub(super) so_pins: &'a [PinArg],
    /// How long people may take at a token.
    pub(super) patience: HumanDuration,
}

impl Terminal<'_> {
    /// A terminal that only asks for words.
    pub(super) const fn asking(silent: bool) -> Self {
        Self {
            silent,
            pins: &[],
            so_pins: &[],
            patience: PATIENCE,
        }
    }

    /// Shows a digest, and asks for three of its words.
    fn typed_words(
        &self,
        what: &str,
        digest: &Digest,
        limit: Option<HumanDuration>,
    ) -> Result<String, Error> {
        show(&format!("{what}: {digest}"));
        let all: Vec<_> = words(digest).collect();
        for (row, number) in all.chunks(8).zip((1..).step_by(8)) {
            show(&format!("  {number:>2}  {}", row.join(" ")));
        }
        if self.silent {
            return Ok("not asked, in a rehearsal".to_owned());
        }
        let places = places(all.len()).map_err(|error| Error::NotConfirmed(error.to_string()))?;
        let numbers: Vec<_> = places.iter().map(|place| (place + 1).to_string()).collect();
        let question = format!(
            "Compare them with your own copy, then type the words {}: ",
            numbers.join(", ")
        );
        let answer = match limit {
            Some(limit) => ask_within(question, limit)?,
            None => ask(&question)?,
        };
        let wanted = places.iter().filter_map(|place| all.get(*place));
        if answer.split_whitespace().eq(wanted.copied()) {
            return Ok(format!("words {} typed", numbers.join(", ")));
        }
        Err(Error::NotConfirmed(format!("other words were typed for {what}")))
    }
}

impl Room for Terminal<'_> {
    fn say(&mut self, line: &str) {
        show(line);
    }

    fn go(&mut self, what: &str) -> Result<(), Error> {
        if self.silent {
            show(&format!("not asked, in a rehearsal: {what}"));
            return Ok(());
        }
        let answer = ask(&format!(
            "Next: {what}. This cannot be undone. Type yes to do it: "
        ))?;
        if answer == "yes" {
            return Ok(());
        }
        Err(Error::NotConfirmed(what.to_owned()))
    }

    fn confirm(&mut self, what: &str, digest: &Digest) -> Result<String, Error> {
        self.typed_words(what, digest, None)
    }

    fn attest(&mut self, what: &str) -> Result<String, Error> {
        if self.silent {
            return Ok("not asked, in a rehearsal".to_owned());
        }
        let question = format!("Everybody: {what}. Nobody but you knows. Type yes if it was so: ");
        let answer = ask_within(question, self.patience)?;
        if answer == "yes" {
            return Ok("yes typed".to_owned());
        }
        Err(Error::NotConfirmed(what.to_owned()))
    }

    fn opened(&mut self, what: &str, digest: &Digest, again: bool) -> Result<String, Error> {
        if self.silent && again {
            let problem = "the token wants its quorum, and --yes asks nobody";
            return Err(Error::NotConfirmed(problem.to_owned()));
        }
        self.typed_words(what, digest, Some(self.patience))
    }

    fn patience(&self) -> HumanDuration {
        self.patience
    }

    fn remarks(&mut self) -> Result<Vec<String>, Error> {
        let mut remarks = Vec::new();
        if self.silent {
            return Ok(remarks);
        }
        loop {
            let remark = ask("Anything to write down? One line, or nothing to go on: ")?;
            if remark.is_empty() {
                break;
            }
            remarks.push(remark);
        }
        Ok(remarks)
    }

    fn pin(&mut self, token: &str, whose: PinFor, parts: u64) -> Result<Pin, Error> {
        let (given, owner) = match whose {
            PinFor::User => (self.pins, "user"),
            PinFor::SecurityOfficer => (self.so_pins, "security officer"),
        };
        let mut sources = given.iter().filter(|pin| pin.token == token);
        let mut read = Vec::new();
        for part in 1..=parts {
            let source = sources.next().map_or(PinSource::Prompt, |pin| pin.source.clone());
            let name = if parts == 1 {
                format!("{token} ({owner})")
            } else {
                format!("{token} ({owner}, part {part} of {parts})")
            };
            let pin = source.read(&name).map_err(|source| Error::Pin {
                token: token.to_owned(),
                source,
            })?;
            read.push(pin);
        }
        Ok(Pin::join(&read))
    }
}

/// Asks for three words of a digest.
pub(super) fn confirm(silent: bool, what: &str, digest: &Digest) -> Result<String, Failure> {
    Terminal::asking(silent)
        .confirm(what, digest)
        .or_fail(Class::Denied)
}

/// Different places, ascending.
fn places(of: usize) -> Result<Vec<usize>, getrandom::Error> {
    let mut places = Vec::new();
    while places.len() < TYPED.min(of) {
        let mut byte = [0];
        getrandom::fill(&mut byte)?;
        let [byte] = byte;
        let place = usize::from(byte) % of;
        if !places.contains(&place) {
            places.push(place);
        }
    }
    places.sort_unstable();
    Ok(places)
}

fn ask(question: &str) -> Result<String, Error> {
    let failed = |error: io::Error| Error::NotConfirmed(error.to_string());
    let mut out = io::stderr();
    out.write_all(question.as_bytes())
        .and_then(|()| out.flush())
        .map_err(failed)?;
    let mut answer = String::new();
    let mut input = io::Read::take(io::stdin().lock(), LONGEST);
    if input.read_line(&mut answer).map_err(failed)? == 0 {
        return Err(Error::NotConfirmed("nobody answers on standard input".to_owned()));
    }
    Ok(answer.trim().to_owned())
}

/// The same for a limited time. What is typed later is lost, as nothing goes on after that.
fn ask_within(question: String, limit: HumanDuration) -> Result<String, Error> {
    let (answer, answered) = mpsc::sync_channel(1);
    let asking = move || {
        // Nobody may wait any more.
        let _ = answer.send(ask(&question));
    };
    let nobody = |_| Error::NotConfirmed(format!("nobody answered within {limit}"));
    thread::Builder::new()
        .name("room".into())
        .spawn(asking)
        .map_err(|error| Error::NotConfirmed(error.to_string()))?;
    answered.recv_timeout(limit.get()).map_err(nobody)?
}

fn show(line: &str) {
    // With no one to tell, there is nothing to do.
    let _closed = writeln!(io::stderr(), "{line}");
}
