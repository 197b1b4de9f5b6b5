//! `[server.signing]`: what bounds the calls of `sealwright.v1.SigningService`.

use std::time::Duration;

use sealwright_identity::HumanDuration;
use serde::Deserialize;
use tokio::sync::Semaphore;

use super::ConfigError;

/// `[server.signing]`: calls with many requests each.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SigningConfig {
    /// Calls open at once, of all callers; one more is refused.
    pub max_calls: usize,
    /// Requests of one call that run or whose answers were not taken; no more are read meanwhile.
    pub max_in_flight: usize,
    /// A call without a request for so long ends.
    pub idle_timeout: HumanDuration,
    /// A call that is open for so long ends.
    pub max_duration: HumanDuration,
}

impl Default for SigningConfig {
    fn default() -> Self {
        Self {
            max_calls: 1_000,
            max_in_flight: 64,
            idle_timeout: HumanDuration::from_secs(60),
            max_duration: HumanDuration::from_secs(3600),
        }
    }
}

impl SigningConfig {
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        const MAX: usize = 1 << 20;
        const { assert!(MAX <= Semaphore::MAX_PERMITS) };
        let counts = [
            ("signing.max_calls", self.max_calls),
            ("signing.max_in_flight", self.max_in_flight),
        ];
        for (key, value) in counts {
            if value == 0 {
                return Err(ConfigError::Zero { key });
            }
            if value > MAX {
                return Err(ConfigError::TooLarge { key, max: MAX });
            }
        }
        for (key, value) in [
            ("signing.idle_timeout", self.idle_timeout),
            ("signing.max_duration", self.max_duration),
        ] {
            if value.get() < Duration::from_secs(1) {
                return Err(ConfigError::TooShort { key });
            }
        }
        Ok(())
    }
}
