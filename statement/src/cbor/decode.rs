//! The strict decoder.

use std::collections::BTreeMap;

use super::{ARRAY, BYTES, CborError, Key, MAP, MAX_BYTES, MAX_DEPTH, SIMPLE, TEXT, UINT, Value};

/// Reads the only item in some bytes.
///
/// # Errors
/// When they are anything that [`super::encode`] does not make, or too large or too deep.
pub fn decode(bytes: &[u8]) -> Result<Value, CborError> {
    if bytes.len() > MAX_BYTES {
        return Err(CborError::TooLarge(bytes.len()));
    }
    let mut reader = Reader { bytes, at: 0 };
    let value = reader.item(0)?;
    if reader.at < bytes.len() {
        return Err(CborError::Trailing(reader.at));
    }
    Ok(value)
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn item(&mut self, depth: usize) -> Result<Value, CborError> {
        let start = self.at;
        let (major, argument) = self.head()?;
        if depth >= MAX_DEPTH && matches!(major, ARRAY | MAP) {
            return Err(CborError::TooDeep(start));
        }
        Ok(match major {
            UINT => Value::Uint(argument),
            BYTES => Value::Bytes(self.take(argument, start)?.to_vec()),
            TEXT => Value::Text(self.text(argument, start)?),
            ARRAY => {
                let mut items = Vec::new();
                for _ in 0..argument {
                    items.push(self.item(depth + 1)?);
                }
                Value::Array(items)
            }
            MAP => self.map(argument, depth)?,
            // `head` lets nothing else through.
            _ => Value::Bool(argument == 1),
        })
    }

    fn map(&mut self, members: u64, depth: usize) -> Result<Value, CborError> {
        let mut map = BTreeMap::new();
        for _ in 0..members {
            let start = self.at;
            let (major, argument) = self.head()?;
            if major != TEXT {
                return Err(CborError::KeyNotText(start));
            }
            let key = Key(self.text(argument, start)?);
            if map.last_key_value().is_some_and(|(last, _)| *last >= key) {
                return Err(CborError::KeyOrder {
                    key: key.0,
                    at: start,
                });
            }
            let value = self.item(depth + 1)?;
            map.insert(key, value);
        }
        Ok(Value::Map(map))
    }

    /// The major type and the argument. Of simple values only `false` (0) and `true` (1) come back.
    fn head(&mut self) -> Result<(u8, u64), CborError> {
        let start = self.at;
        let unsupported = |what| Err(CborError::Unsupported { what, at: start });
        let [initial] = self.array(start)?;
        let (major, low) = (initial >> 5, initial & 0x1f);
        match major {
            UINT | BYTES | TEXT | ARRAY | MAP => {}
            SIMPLE => {
                return match low {
                    20 => Ok((SIMPLE, 0)),
                    21 => Ok((SIMPLE, 1)),
                    25..=27 => unsupported("floating-point numbers"),
                    31 => Err(CborError::Indefinite(start)),
                    _ => unsupported("null, undefined or other simple values"),
                };
            }
            1 => return unsupported("negative integers"),
            _ => return unsupported("tags"),
        }
        let (argument, least) = match low {
            0..24 => (u64::from(low), 0),
            24 => (self.array(start).map(|[byte]| u64::from(byte))?, 24),
            25 => (self.array(start).map(u16::from_be_bytes)?.into(), 1 << 8),
            26 => (self.array(start).map(u32::from_be_bytes)?.into(), 1 << 16),
            27 => (self.array(start).map(u64::from_be_bytes)?, 1 << 32),
            31 => return Err(CborError::Indefinite(start)),
            _ => return unsupported("reserved forms"),
        };
        if argument < least {
            return Err(CborError::NotShortest(start));
        }
        Ok((major, argument))
    }

    fn text(&mut self, length: u64, start: usize) -> Result<String, CborError> {
        let bytes = self.take(length, start)?;
        let text = std::str::from_utf8(bytes).map_err(|_invalid| CborError::Utf8(start))?;
        Ok(text.to_owned())
    }

    fn array<const N: usize>(&mut self, start: usize) -> Result<[u8; N], CborError> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let array = rest.first_chunk().ok_or(CborError::Truncated(start))?;
        self.at += N;
        Ok(*array)
    }

    fn take(&mut self, length: u64, start: usize) -> Result<&'a [u8], CborError> {
        let end = usize::try_from(length)
            .ok()
            .and_then(|length| self.at.checked_add(length));
        let taken = end.and_then(|end| self.bytes.get(self.at..end));
        let taken = taken.ok_or(CborError::Truncated(start))?;
        self.at += taken.len();
        Ok(taken)
    }
}
