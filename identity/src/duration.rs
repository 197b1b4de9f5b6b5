//! Durations as people write them: `30s`, `10m`, `24h`, `90d`.

use std::{fmt, str::FromStr, time::Duration};

use crate::text::serde_as_text;

/// A duration of whole seconds above zero, with one unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HumanDuration(Duration);

impl HumanDuration {
    /// A number of seconds.
    #[must_use]
    pub const fn from_secs(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    /// The duration.
    #[must_use]
    pub const fn get(self) -> Duration {
        self.0
    }
}

impl From<HumanDuration> for Duration {
    fn from(value: HumanDuration) -> Self {
        value.0
    }
}

impl FromStr for HumanDuration {
    type Err = DurationError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.parse::<SignedDuration>()? {
            SignedDuration(seconds) if seconds > 0 => Ok(Self::from_secs(seconds.unsigned_abs())),
            SignedDuration(_) => Err(DurationError::NotPositive(text.to_owned())),
        }
    }
}

impl fmt::Display for HumanDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        let unit = UNITS
            .iter()
            .rev()
            .find(|(_, size)| seconds.is_multiple_of(size.unsigned_abs()));
        match unit {
            Some((unit, size)) => write!(f, "{}{unit}", seconds / size.unsigned_abs()),
            None => write!(f, "{seconds}s"),
        }
    }
}

serde_as_text!(HumanDuration);

/// Whole seconds of either sign; a negative one makes something that has already expired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SignedDuration(i64);

impl SignedDuration {
    /// Seconds.
    #[must_use]
    pub const fn seconds(self) -> i64 {
        self.0
    }
}

const UNITS: [(char, i64); 4] = [('s', 1), ('m', 60), ('h', 3600), ('d', 86_400)];

impl FromStr for SignedDuration {
    type Err = DurationError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let malformed = || DurationError::Malformed(text.to_owned());
        let unit = text.chars().next_back().ok_or_else(malformed)?;
        let (_, size) = UNITS
            .iter()
            .find(|(name, _)| *name == unit)
            .ok_or_else(malformed)?;
        let number = text.strip_suffix(unit).ok_or_else(malformed)?;
        let digits = number.strip_prefix('-').unwrap_or(number);
        if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return Err(malformed());
        }
        let count: i64 = number
            .parse()
            .map_err(|_| DurationError::TooLong(text.to_owned()))?;
        count
            .checked_mul(*size)
            .map(Self)
            .ok_or_else(|| DurationError::TooLong(text.to_owned()))
    }
}

/// Why a text is not a duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// Not a number with a unit.
    #[error("a duration is a whole number with s, m, h or d, such as 24h, not {0:?}")]
    Malformed(String),
    /// Zero or less where time must pass.
    #[error("the duration must be above zero, not {0:?}")]
    NotPositive(String),
    /// Beyond what can be counted.
    #[error("the duration {0:?} is too long")]
    TooLong(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_each_unit_and_prints_the_largest() {
        for (text, seconds) in [("30s", 30), ("10m", 600), ("24h", 86_400), ("90d", 7_776_000)] {
            assert_eq!(text.parse::<HumanDuration>().unwrap().get().as_secs(), seconds);
        }
        assert_eq!("24h".parse::<HumanDuration>().unwrap().to_string(), "1d");
        assert_eq!("90s".parse::<HumanDuration>().unwrap().to_string(), "90s");
        assert_eq!("-1h".parse::<SignedDuration>().unwrap().seconds(), -3600);
    }

    #[test]
    fn refuses_the_rest() {
        for text in [
            "",
            "s",
            "10",
            "0s",
            "-1h",
            "1.5h",
            "1h30m",
            "+1h",
            "1 h",
            "99999999999999999999d",
            "9223372036854775807d",
        ] {
            assert!(text.parse::<HumanDuration>().is_err(), "{text}");
        }
    }
}
