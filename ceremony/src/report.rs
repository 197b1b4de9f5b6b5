//! A transcript for people to read: the same content as HTML, whatever the machine and the day.
//!
//! It is no evidence: who doubts it verifies the transcript. Only what verifies is rendered.

mod content;
mod html;

use std::path::Path;

use crate::error::Error;
use crate::files::Files;

/// A transcript as headings, sentences and tables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    pub(crate) title: String,
    pub(crate) blocks: Vec<Block>,
}

/// A part of a report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Block {
    Heading(&'static str),
    Text(String),
    /// Names and values, without a head.
    Pairs(Vec<(&'static str, String)>),
    Table(&'static [&'static str], Vec<Vec<String>>),
}

impl Report {
    /// Reads a transcript, which must verify.
    ///
    /// # Errors
    /// When it does not.
    pub fn of(folder: &Path) -> Result<Self, Error> {
        content::report(&Files::read(folder)?)
    }

    /// One page that needs nothing else, and runs nothing.
    #[must_use]
    pub fn html(&self) -> String {
        html::page(self)
    }
}
