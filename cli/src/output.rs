//! What goes to standard output: tables for people, JSON for programs.

use std::io::{IsTerminal, Write};

use clap::ValueEnum;
use comfy_table::{ContentArrangement, Table, presets::UTF8_BORDERS_ONLY};
use serde::Serialize;

use crate::failure::{Class, Failure, OrFail};

/// The form of data on standard output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// One object a line.
    Json,
    /// For people.
    Table,
}

impl Default for Output {
    /// A terminal gets tables, a pipe JSON.
    fn default() -> Self {
        if std::io::stdout().is_terminal() {
            Self::Table
        } else {
            Self::Json
        }
    }
}

/// Prints one line and flushes it. A reader that went away is no failure.
pub(crate) fn line(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        printed => printed.or_fail_doing(Class::Internal, "cannot print"),
    }
}

/// Prints one object as one line of JSON.
pub(crate) fn json(value: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string(value).or_fail_doing(Class::Internal, "cannot print")?;
    line(&text)
}

/// Prints a table.
pub(crate) fn table(header: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> Result<(), Failure> {
    let mut table = Table::new();
    table
        .load_preset(UTF8_BORDERS_ONLY)
        .set_content_arrangement(ContentArrangement::Dynamic);
    if !header.is_empty() {
        table.set_header(header);
    }
    table.add_rows(rows);
    line(&table.to_string())
}

/// Prints a notice to standard error.
///
/// It is one write: front, gate and supervisor share the stream, and pieces would be mixed with their lines.
pub(crate) fn notice(text: &str) {
    let line = format!("sealwright: {text}\n");
    // With no one to tell, there is nothing to do.
    let _closed = std::io::stderr().write_all(line.as_bytes());
}
