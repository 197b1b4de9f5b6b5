//! How far a ceremony got, by its journal alone: what an exit code says of a start that did not end well.

use std::path::Path;

use crate::journal::{Event, Kind};
use crate::run::{CLOSING, DECLARED, ENDED, EVENTS};

/// How far a ceremony got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Nothing was made or changed on any token.
    Untouched,
    /// Something was asked of a token that may have changed it: the ceremony is open, and goes on or is given up.
    Open,
    /// It finished, or was given up.
    Over,
}

impl Progress {
    /// Of the transcript in this folder. A journal that cannot be read is taken for an open one.
    #[must_use]
    pub fn of(folder: &Path) -> Self {
        let path = folder.join(EVENTS);
        if !path.exists() {
            return Self::Untouched;
        }
        let Ok(text) = std::fs::read_to_string(path) else {
            return Self::Open;
        };
        let mut found = Self::Untouched;
        for event in text
            .lines()
            .filter_map(|line| serde_json::from_str::<Event>(line).ok())
        {
            if event.step == CLOSING && [DECLARED, ENDED].contains(&event.call.as_str()) {
                return Self::Over;
            }
            // Who logs in has changed nothing yet.
            if event.kind == Kind::Intent && !event.call.starts_with("C_Login") {
                found = Self::Open;
            }
        }
        found
    }
}
