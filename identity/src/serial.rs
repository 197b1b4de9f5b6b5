//! Certificate serial numbers.

use std::{fmt, str::FromStr};

use crate::{Timestamp, text::serde_as_text};

/// The most octets a serial number has (RFC 5280, section 4.1.2.2).
pub const MAX_OCTETS: usize = 20;

/// The first octet of a fresh serial number: neither zero nor negative.
const FRESH: u8 = 0x40;

/// A positive serial number of at most 20 octets, held as the shortest DER integer content.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SerialNumber(Vec<u8>);

impl SerialNumber {
    /// The millisecond of `now` in 48 bits, then 104 random bits from the system's generator, behind
    /// an octet that makes it 20 octets whatever the others are.
    ///
    /// Unpredictable all the same (64 bits are asked for; CA/Browser Forum Baseline Requirements,
    /// section 7.1). Serials that come in order are what a large ledger's index can take at the rate
    /// of a small one: each goes where the last one went.
    ///
    /// # Errors
    /// When the system's generator fails.
    pub fn fresh(now: Timestamp) -> Result<Self, SerialError> {
        let mut octets = [0; MAX_OCTETS];
        getrandom::fill(&mut octets).map_err(SerialError::Generator)?;
        let [_, _, milliseconds @ ..] = (now.micros() / 1000).to_be_bytes();
        let [first, rest @ ..] = &mut octets;
        *first = FRESH;
        for (octet, time) in rest.iter_mut().zip(milliseconds) {
            *octet = time;
        }
        Ok(Self(octets.to_vec()))
    }

    /// 159 random bits from the system's generator: 20 octets, the first never zero in value.
    ///
    /// # Errors
    /// When the system's generator fails.
    pub fn random() -> Result<Self, SerialError> {
        let mut octets = [0; MAX_OCTETS];
        getrandom::fill(&mut octets).map_err(SerialError::Generator)?;
        let [first, ..] = &mut octets;
        // The sign bit off makes it positive; the next on makes it non-zero and minimal.
        *first = (*first & 0x7f) | 0x40;
        Ok(Self(octets.to_vec()))
    }

    /// A serial number from the content octets of a DER INTEGER.
    ///
    /// # Errors
    /// When it is empty, longer than 20 octets, zero, negative or not minimal.
    pub fn from_der_content(octets: &[u8]) -> Result<Self, SerialError> {
        match octets {
            [] => Err(SerialError::Empty),
            _ if octets.len() > MAX_OCTETS => Err(SerialError::TooLong(octets.len())),
            [0] => Err(SerialError::Zero),
            [first, ..] if *first >= 0x80 => Err(SerialError::Negative),
            [0, second, ..] if *second < 0x80 => Err(SerialError::NotMinimal),
            _ => Ok(Self(octets.to_vec())),
        }
    }

    /// The content octets of its DER INTEGER: a leading zero only where the sign bit needs one.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl FromStr for SerialNumber {
    type Err = SerialError;

    /// Reads hexadecimal digits of either case; leading zeros do not count.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = text.trim_start_matches('0');
        if text.is_empty() {
            return Err(SerialError::Empty);
        }
        let padded = if digits.len() % 2 == 1 {
            format!("0{digits}")
        } else {
            digits.to_owned()
        };
        let mut octets = hex::decode(padded).map_err(|_| SerialError::Digits(text.to_owned()))?;
        match octets.first() {
            None => return Err(SerialError::Zero),
            Some(first) if *first >= 0x80 => octets.insert(0, 0),
            Some(_) => {}
        }
        Self::from_der_content(&octets)
    }
}

impl fmt::Display for SerialNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.0.strip_prefix(&[0]).unwrap_or(&self.0);
        f.write_str(&hex::encode(value))
    }
}

impl fmt::Debug for SerialNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SerialNumber({self})")
    }
}

serde_as_text!(SerialNumber);

/// Why something is not a serial number.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SerialError {
    /// No octets at all.
    #[error("a serial number cannot be empty")]
    Empty,
    /// Longer than 20 octets; how many.
    #[error("a serial number has at most 20 octets, this one has {0}")]
    TooLong(usize),
    /// The value is zero.
    #[error("a serial number cannot be zero")]
    Zero,
    /// The value is below zero.
    #[error("a serial number cannot be negative")]
    Negative,
    /// A leading zero octet that DER does not allow.
    #[error("the serial number is not encoded in the shortest form")]
    NotMinimal,
    /// Not hexadecimal.
    #[error("a serial number is written in hexadecimal digits, not {0:?}")]
    Digits(String),
    /// The system's random generator gave an error.
    #[error("the system's random generator failed")]
    Generator(#[source] getrandom::Error),
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn random_ones_are_positive_twenty_octets_and_differ() {
        let (a, b) = (SerialNumber::random().unwrap(), SerialNumber::random().unwrap());
        assert_ne!(a, b);
        assert_eq!(a.as_bytes().len(), MAX_OCTETS);
        assert!(a.as_bytes()[0] < 0x80 && a.as_bytes()[0] >= 0x40);
    }

    #[test]
    fn fresh_ones_come_in_the_order_of_time_and_differ() {
        let at =
            |milliseconds: i64| SerialNumber::fresh(Timestamp::from_micros(milliseconds * 1000)).unwrap();
        let moment = 1_795_000_000_123;
        let (one, same, later) = (at(moment), at(moment), at(moment + 1));
        assert!(one < later && same < later);
        assert_eq!(one.as_bytes()[..7], same.as_bytes()[..7]);
        assert_ne!(one, same);
        for serial in [one, at(0), at(-1), at(i64::MAX / 1000)] {
            assert_eq!(
                SerialNumber::from_der_content(serial.as_bytes()).as_ref(),
                Ok(&serial)
            );
            assert_eq!(serial.as_bytes().len(), MAX_OCTETS);
        }
    }

    #[test]
    fn refuses_what_der_and_the_profile_refuse() {
        let table: [(&[u8], SerialError); 6] = [
            (&[], SerialError::Empty),
            (&[0], SerialError::Zero),
            (&[0x80], SerialError::Negative),
            (&[0, 1], SerialError::NotMinimal),
            (&[0, 0], SerialError::NotMinimal),
            (&[1; 21], SerialError::TooLong(21)),
        ];
        for (octets, error) in table {
            assert_eq!(SerialNumber::from_der_content(octets), Err(error));
        }
        assert_eq!("000".parse::<SerialNumber>(), Err(SerialError::Zero));
        assert!("xyz".parse::<SerialNumber>().is_err());
    }

    proptest! {
        #[test]
        fn text_and_octets_agree(value in 1u128..) {
            let text = format!("{value:x}");
            let serial: SerialNumber = text.parse().unwrap();
            prop_assert_eq!(&serial.to_string().parse::<SerialNumber>().unwrap(), &serial);
            prop_assert_eq!(u128::from_str_radix(&serial.to_string(), 16).unwrap(), value);
            prop_assert_eq!(SerialNumber::from_der_content(serial.as_bytes()).unwrap(), serial);
        }
    }
}
