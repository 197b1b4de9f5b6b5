//! The machine that is measured on, and how busy it was.

use std::{fs, thread};

use serde::Serialize;

/// What figures say as much about as about the program.
#[derive(Debug, Default, Serialize)]
pub(super) struct Machine {
    processors: usize,
    model: String,
    /// Over 1, 5 and 15 minutes.
    load: String,
}

impl Machine {
    pub(super) fn now() -> Self {
        let information = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = information
            .lines()
            .find_map(|line| line.strip_prefix("model name"))
            .and_then(|rest| rest.split_once(':'))
            .map_or_else(String::new, |(_, model)| model.trim().to_owned());
        let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
        Self {
            processors: thread::available_parallelism().map_or(0, usize::from),
            model,
            load: load.split_whitespace().take(3).collect::<Vec<_>>().join(" "),
        }
    }

    pub(super) fn text(&self) -> String {
        format!("{} x {}, load {}", self.processors, self.model, self.load)
    }
}
