//! Logging: to standard error, for people on a terminal and as JSON elsewhere.

use std::io::{IsTerminal, Write};

use serde::Deserialize;
use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt, util::SubscriberInitExt};

/// The `[log]` section.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct LogConfig {
    /// A level, or a filter such as `info,sealwright_hsm=debug`.
    pub level: String,
    /// How lines look.
    pub format: LogFormat,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            level: "info".to_owned(),
            format: LogFormat::Auto,
        }
    }
}

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Pretty on a terminal, JSON else.
    #[default]
    Auto,
    /// For people.
    Pretty,
    /// One JSON object a line.
    Json,
}

/// Starts logging, once for the process. A second call changes nothing.
///
/// # Errors
/// When `level` is not a filter.
pub fn init(config: &LogConfig) -> Result<(), TelemetryError> {
    let filter = EnvFilter::builder()
        .parse(with_quiet(&config.level))
        .map_err(|source| TelemetryError::Level {
            level: config.level.clone(),
            source,
        })?;
    let terminal = std::io::stderr().is_terminal();
    let pretty = match config.format {
        LogFormat::Auto => terminal,
        LogFormat::Pretty => true,
        LogFormat::Json => false,
    };
    let registry = tracing_subscriber::registry().with(filter);
    // An error here means that a subscriber was installed before: it stays.
    let _installed = if pretty {
        let layer = fmt::layer().with_writer(std::io::stderr).with_ansi(terminal);
        registry.with(layer.with_target(false)).try_init()
    } else {
        let layer = fmt::layer().with_writer(std::io::stderr).json();
        registry.with(layer.flatten_event(true)).try_init()
    };
    Ok(())
}

/// Has every panic of the process said in the log, in its form, with the place and never with a text
/// that was put together at run time: what it was put together from may be a secret.
///
/// Before [`init`] it goes to standard error as it is. Call it first.
pub fn report_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let what = said(panic.payload());
        let thread = std::thread::current();
        let thread = thread.name().unwrap_or("unnamed");
        if tracing::dispatcher::has_been_set() {
            tracing::error!(%place, thread, what, "a thread panicked");
        } else {
            let _closed = writeln!(
                std::io::stderr(),
                "a thread panicked: {thread} at {place}: {what}"
            );
        }
        // Names of functions and lines, no values; asked for by RUST_BACKTRACE.
        let trace = std::backtrace::Backtrace::capture();
        if trace.status() == std::backtrace::BacktraceStatus::Captured {
            let _closed = writeln!(std::io::stderr(), "{trace}");
        }
    }));
}

/// A text that stands in the program, or that there was another.
fn said(payload: &(dyn std::any::Any + Send)) -> &'static str {
    payload
        .downcast_ref::<&'static str>()
        .copied()
        .unwrap_or("(withheld: it may hold a secret)")
}

/// Libraries that log errors where nothing is wrong, such as for each mechanism of a token that
/// they have no name for. Silent unless the filter names them.
const NOISY: [&str; 1] = ["cryptoki"];

/// The filter as it is applied: a bare `debug` or `trace` is about this program. Libraries at those levels
/// write gigabytes (the compiler of policies), and what they write is not ours to keep secrets out of;
/// they are heard from `info` up, and further by name.
fn with_quiet(level: &str) -> String {
    let directives = level.split(',').map(|directive| {
        let bare = directive.trim();
        let fine = ["debug", "trace"]
            .iter()
            .any(|fine| bare.eq_ignore_ascii_case(fine));
        if fine {
            format!("info,sealwright={bare}")
        } else {
            directive.to_owned()
        }
    });
    let filter = directives.collect::<Vec<_>>().join(",");
    let unnamed = NOISY.iter().filter(|target| !level.contains(*target));
    unnamed.fold(filter, |filter, target| format!("{filter},{target}=off"))
}

/// Why logging could not start.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The level is no filter.
    #[error("log.level {level:?} is no level; use error, warn, info, debug, trace or target=level")]
    Level {
        /// As configured.
        level: String,
        /// Why.
        #[source]
        source: tracing_subscriber::filter::ParseError,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_says_only_what_stands_in_the_program() {
        let payload = std::panic::catch_unwind(|| panic!("fixed")).unwrap_err();
        assert_eq!(said(&*payload), "fixed");
        let pin = "1234";
        let payload = std::panic::catch_unwind(|| panic!("with {pin}")).unwrap_err();
        assert!(!said(&*payload).contains(pin));
    }

    #[test]
    fn a_bare_level_below_info_is_about_this_program() {
        for (level, filter) in [
            ("info", "info,cryptoki=off"),
            ("trace", "info,sealwright=trace,cryptoki=off"),
            (
                "DEBUG,h2=trace,cryptoki=info",
                "info,sealwright=DEBUG,h2=trace,cryptoki=info",
            ),
            (
                "warn,sealwright_hsm=debug",
                "warn,sealwright_hsm=debug,cryptoki=off",
            ),
        ] {
            assert_eq!(with_quiet(level), filter);
            EnvFilter::builder().parse(filter).unwrap();
        }
    }

    #[test]
    fn refuses_what_is_no_filter() {
        let config = LogConfig {
            level: "info,=,,x=nonsense".to_owned(),
            format: LogFormat::Json,
        };
        assert!(init(&config).is_err());
    }
}
