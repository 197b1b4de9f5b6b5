//! Logging: to standard error, for people on a terminal and as JSON elsewhere.

use std::io::IsTerminal;

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

/// Libraries that log errors where nothing is wrong, such as for each mechanism of a token that
/// they have no name for. Silent unless the filter names them.
const NOISY: [&str; 1] = ["cryptoki"];

fn with_quiet(level: &str) -> String {
    let unnamed = NOISY.iter().filter(|target| !level.contains(*target));
    unnamed.fold(level.to_owned(), |filter, target| {
        format!("{filter},{target}=off")
    })
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
    fn refuses_what_is_no_filter() {
        let config = LogConfig {
            level: "info,=,,x=nonsense".to_owned(),
            format: LogFormat::Json,
        };
        assert!(init(&config).is_err());
    }
}
