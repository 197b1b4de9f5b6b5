//! `Time` and `Validity` (RFC 5280, section 4.1.2.5): UTCTime through 2049, GeneralizedTime after, whole seconds.

use std::{fmt::Write as _, time::Duration};

use der::{
    DateTime, Tag,
    asn1::{GeneralizedTime, UtcTime},
};
use sealwright_identity::{Timestamp, Validity, ValidityError};

use crate::asn1::{Malformed, Reader, Writer, tag};

/// A moment as `Time` can hold it: from 1970 to the end of 9999.
pub(crate) fn date_time(at: Timestamp) -> Result<DateTime, TimeError> {
    u64::try_from(at.unix_seconds())
        .ok()
        .and_then(|seconds| DateTime::from_unix_duration(Duration::from_secs(seconds)).ok())
        .ok_or(TimeError::Range { at })
}

/// Appends `Validity`.
pub(crate) fn write_validity(w: &mut Writer, not_before: DateTime, not_after: DateTime) {
    w.nest(tag::SEQUENCE, |w| {
        write_time(w, not_before);
        write_time(w, not_after);
    });
}

fn write_time(w: &mut Writer, at: DateTime) {
    let (month, day) = (at.month(), at.day());
    let (hour, minute, second) = (at.hour(), at.minutes(), at.seconds());
    let year = at.year();
    let (tag, year, width) = if year < 2050 {
        (tag::UTC_TIME, year % 100, 2)
    } else {
        (tag::GENERALIZED_TIME, year, 4)
    };
    w.nest(tag, |w| {
        // The writer takes any text, so this cannot fail.
        let _ = write!(
            w,
            "{year:0width$}{month:02}{day:02}{hour:02}{minute:02}{second:02}Z"
        );
    });
}

/// Reads `Validity`.
pub(crate) fn read_validity(parent: &mut Reader<'_>) -> Result<Validity, TimeError> {
    let mut parts = parent.nested(Tag::Sequence, "Validity")?;
    let (not_before, not_after) = (read_time(&mut parts)?, read_time(&mut parts)?);
    parts.finish()?;
    Ok(Validity::new(not_before, not_after)?)
}

fn read_time(parts: &mut Reader<'_>) -> Result<Timestamp, TimeError> {
    let malformed = |source| Malformed { what: "Time", source };
    let value = parts.any()?;
    let since_epoch = match value.header().tag() {
        Tag::UtcTime => value
            .decode_as::<UtcTime>()
            .map_err(malformed)?
            .to_unix_duration(),
        Tag::GeneralizedTime => value
            .decode_as::<GeneralizedTime>()
            .map_err(malformed)?
            .to_unix_duration(),
        other => return Err(Malformed::value("Time", other).into()),
    };
    let seconds = i64::try_from(since_epoch.as_secs()).unwrap_or(i64::MAX);
    Ok(Timestamp::from_unix_seconds(seconds))
}

/// Why a validity cannot be read or written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TimeError {
    /// Not DER.
    #[error("the validity cannot be read")]
    Malformed(#[from] Malformed),
    /// A moment before 1970 or after 9999.
    #[error("a certificate cannot hold the time {at}")]
    Range {
        /// The moment.
        at: Timestamp,
    },
    /// It ends before it begins.
    #[error("the validity is empty")]
    Empty(#[from] ValidityError),
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn round_trip(not_before: i64, not_after: i64) -> (Vec<u8>, Validity) {
        let moment = |seconds| date_time(Timestamp::from_unix_seconds(seconds)).unwrap();
        let mut w = Writer::with_capacity(0);
        write_validity(&mut w, moment(not_before), moment(not_after));
        let der = w.into_bytes();
        let mut reader = Reader::new(&der, "test").unwrap();
        let validity = read_validity(&mut reader).unwrap();
        reader.finish().unwrap();
        (der, validity)
    }

    #[test]
    fn the_form_changes_with_the_year_2050() {
        // 2049-12-31T23:59:59Z and one second later.
        let (der, _) = round_trip(2_524_607_999, 2_524_608_000);
        assert_eq!(&der[2..], b"\x17\x0d491231235959Z\x18\x0f20500101000000Z");
    }

    #[test]
    fn beyond_the_years_is_refused() {
        assert!(date_time(Timestamp::from_unix_seconds(-1)).is_err());
        assert!(date_time(Timestamp::from_unix_seconds(253_402_300_799)).is_ok());
        assert!(date_time(Timestamp::from_unix_seconds(253_402_300_800)).is_err());
        assert!(date_time(Timestamp::from_micros(i64::MAX)).is_err());
    }

    proptest! {
        #[test]
        fn reads_what_it_writes(not_before in 0i64..253_402_300_000, seconds in 1i64..700) {
            let (_, validity) = round_trip(not_before, not_before + seconds);
            prop_assert_eq!(validity.not_before().unix_seconds(), not_before);
            prop_assert_eq!(validity.not_after().unix_seconds(), not_before + seconds);
        }
    }
}
