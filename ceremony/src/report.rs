//! A transcript for people to read: the same content as HTML and as PDF, whatever the machine and the day.
//!
//! It is no evidence: who doubts it verifies the transcript. Only what verifies is rendered.

mod content;
mod html;
mod pdf;

use std::path::Path;

use crate::error::Error;
use crate::files::Files;

/// A transcript as headings, sentences and tables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    pub(crate) title: String,
    /// What each sheet of paper says of where it belongs.
    pub(crate) foot: String,
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

    /// The same on paper.
    ///
    /// # Errors
    /// By a fault of ours alone.
    pub fn pdf(&self) -> Result<Vec<u8>, Error> {
        pdf::document(self)
    }
}

/// A script to print, from its Markdown: the same blanks, on sheets that say what plan they are of.
pub(crate) fn script(title: &str, foot: &str, text: &str) -> Result<Vec<u8>, Error> {
    pdf::script(title, foot, text)
}

/// What would turn, hide or be other letters than it looks like.
fn hides(letter: char) -> bool {
    letter.is_control()
        || matches!(
            letter,
            '\u{ad}'
                | '\u{61c}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
        )
}
