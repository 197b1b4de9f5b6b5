//! Which token, with which PIN, used how hard.

use std::{path::PathBuf, time::Duration};

use sealwright_identity::HumanDuration;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub use crate::{pin::PinSource, uri::Pkcs11Uri};

/// How the token is chosen. Exactly one token must fit.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[expect(
    clippy::large_enum_variant,
    reason = "a process has one, and a box would be in the way of every match"
)]
pub enum TokenSelector {
    /// By a PKCS#11 URI; its object attributes are not looked at.
    Uri(Pkcs11Uri),
    /// By the label that was given when the token was initialised.
    Label(String),
    /// By the serial number that the token reports.
    Serial(String),
}

/// Settings of one token.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct TokenConfig {
    /// The vendor's shared library.
    pub module: PathBuf,
    /// Which of the module's tokens.
    pub token: TokenSelector,
    /// Where the user PIN comes from.
    pub pin: PinSource,
    /// Worker threads, each with a session of its own. For a software token as
    /// many as processors: more only lengthens the slowest answers.
    #[serde(default = "default_sessions")]
    pub sessions: usize,
    /// Signatures that may wait for a worker before "overloaded" is answered.
    #[serde(default = "default_queue")]
    pub queue: usize,
    /// Longest time for one signature, waiting included. A worker that is
    /// busy with one call for longer is taken for lost.
    #[serde(
        default = "default_deadline",
        serialize_with = "write_duration",
        deserialize_with = "read_duration"
    )]
    pub deadline: Duration,
}

impl TokenConfig {
    /// The settings with two sessions, a queue of 256 and five seconds.
    pub fn new(module: impl Into<PathBuf>, token: TokenSelector, pin: PinSource) -> Self {
        Self {
            module: module.into(),
            token,
            pin,
            sessions: default_sessions(),
            queue: default_queue(),
            deadline: default_deadline(),
        }
    }
}

fn default_sessions() -> usize {
    2
}

fn default_queue() -> usize {
    256
}

fn default_deadline() -> Duration {
    Duration::from_secs(5)
}

fn read_duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    HumanDuration::deserialize(deserializer).map(HumanDuration::get)
}

fn write_duration<S: Serializer>(value: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    HumanDuration::from_secs(value.as_secs()).serialize(serializer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_settings_are_read_with_their_defaults() {
        let config: TokenConfig = serde_json::from_str(
            r#"{"module":"/m.so","token":{"uri":"pkcs11:token=a%20b"},"pin":{"file":"pin"},
                "deadline":"7s"}"#,
        )
        .unwrap();
        assert_eq!(config.sessions, 2);
        assert_eq!(config.deadline, Duration::from_secs(7));
        let TokenSelector::Uri(uri) = &config.token else {
            panic!("a URI was given");
        };
        assert_eq!(uri.token.as_deref(), Some("a b"));
        assert!(
            serde_json::from_str::<TokenConfig>(
                r#"{"module":"/m.so","token":{"label":"a"},"pin":"prompt","pni":1}"#
            )
            .is_err()
        );
    }
}
