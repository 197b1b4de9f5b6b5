//! Points in time, to the microsecond.

use std::{fmt, str::FromStr, time::Duration};

use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::text::serde_as_text;

const MICROS: i64 = 1_000_000;

/// Microseconds since the Unix epoch; written in RFC 3339, UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Timestamp(i64);

impl Timestamp {
    /// From microseconds since the Unix epoch.
    #[must_use]
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// From seconds since the Unix epoch; ends of the range are kept.
    #[must_use]
    pub const fn from_unix_seconds(seconds: i64) -> Self {
        Self(seconds.saturating_mul(MICROS))
    }

    /// Microseconds since the Unix epoch.
    #[must_use]
    pub const fn micros(self) -> i64 {
        self.0
    }

    /// Whole seconds since the Unix epoch, rounded down.
    #[must_use]
    pub const fn unix_seconds(self) -> i64 {
        self.0.div_euclid(MICROS)
    }

    /// The same without a fraction of a second; the start of the range is kept.
    #[must_use]
    pub const fn truncated_to_seconds(self) -> Self {
        Self(self.0.saturating_sub(self.0.rem_euclid(MICROS)))
    }

    /// Later by a duration; `None` beyond the range.
    #[must_use]
    pub fn checked_add(self, duration: Duration) -> Option<Self> {
        self.0
            .checked_add(i64::try_from(duration.as_micros()).ok()?)
            .map(Self)
    }

    /// Earlier by a duration; `None` beyond the range.
    #[must_use]
    pub fn checked_sub(self, duration: Duration) -> Option<Self> {
        self.0
            .checked_sub(i64::try_from(duration.as_micros()).ok()?)
            .map(Self)
    }

    /// Later by a duration, or the end of the range.
    #[must_use]
    pub fn saturating_add(self, duration: Duration) -> Self {
        self.checked_add(duration).unwrap_or(Self(i64::MAX))
    }

    /// Earlier by a duration, or the start of the range.
    #[must_use]
    pub fn saturating_sub(self, duration: Duration) -> Self {
        self.checked_sub(duration).unwrap_or(Self(i64::MIN))
    }

    /// How long after another point; zero when it is not after it.
    #[must_use]
    pub fn saturating_since(self, earlier: Self) -> Duration {
        Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanos = i128::from(self.0) * 1000;
        let text = OffsetDateTime::from_unix_timestamp_nanos(nanos)
            .ok()
            .and_then(|at| at.format(&Rfc3339).ok());
        match text {
            Some(text) => f.write_str(&text),
            // Beyond the years that RFC 3339 can write: never met in records, and never a panic.
            None => write!(f, "{}us", self.0),
        }
    }
}

impl FromStr for Timestamp {
    type Err = TimestampError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let at = OffsetDateTime::parse(text, &Rfc3339).map_err(|_| TimestampError(text.to_owned()))?;
        i64::try_from(at.unix_timestamp_nanos().div_euclid(1000))
            .map(Self)
            .map_err(|_| TimestampError(text.to_owned()))
    }
}

serde_as_text!(Timestamp);

/// The text is not a time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a time is written as in RFC 3339, such as 2026-01-31T08:00:00Z, not {0:?}")]
pub struct TimestampError(pub String);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_rfc_3339() {
        assert_eq!(
            Timestamp::from_unix_seconds(1_790_000_000).to_string(),
            "2026-09-21T14:13:20Z"
        );
        assert_eq!(
            Timestamp::from_micros(1_500_000).to_string(),
            "1970-01-01T00:00:01.5Z"
        );
        let at = Timestamp::from_micros(1_790_000_000_123_456);
        assert_eq!(at.to_string().parse(), Ok(at));
        assert!("yesterday".parse::<Timestamp>().is_err());
        assert!(Timestamp::from_micros(i64::MAX).to_string().ends_with("us"));
    }

    #[test]
    fn never_wraps() {
        let end = Timestamp::from_micros(i64::MAX);
        assert_eq!(end.checked_add(Duration::from_micros(1)), None);
        assert_eq!(end.saturating_add(Duration::MAX), end);
        assert_eq!(Timestamp::from_unix_seconds(i64::MAX), end);
        assert_eq!(Timestamp::default().saturating_since(end), Duration::ZERO);
        assert_eq!(Timestamp::from_micros(-1).unix_seconds(), -1);
        let start = Timestamp::from_micros(i64::MIN);
        assert_eq!(start.truncated_to_seconds(), start);
    }
}
