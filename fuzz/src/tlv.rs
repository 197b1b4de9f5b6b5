//! A reader and a writer of DER of one page, apart from the product's and from the `der` crate.

/// One value: its tag octet, its contents, and all of its octets. `None` unless the length is minimal.
pub struct Tlv<'a> {
    pub tag: u8,
    pub contents: &'a [u8],
    pub whole: &'a [u8],
}

/// The first value of some bytes, and the bytes after it.
pub fn next(bytes: &[u8]) -> Option<(Tlv<'_>, &[u8])> {
    let (&tag, rest) = bytes.split_first()?;
    if tag & 0x1f == 0x1f {
        return None;
    }
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = if first < 0x80 {
        (usize::from(first), rest)
    } else {
        let count = usize::from(first & 0x7f);
        let octets = rest.get(..count)?;
        if !(1..=4).contains(&count) || octets[0] == 0 {
            return None;
        }
        let length = octets.iter().fold(0, |sum, octet| sum << 8 | usize::from(*octet));
        if length < 0x80 {
            return None;
        }
        (length, &rest[count..])
    };
    let (contents, after) = rest.split_at_checked(length)?;
    let whole = &bytes[..bytes.len() - after.len()];
    Some((Tlv { tag, contents, whole }, after))
}

/// Every value in some bytes; `None` when they are not a row of values.
pub fn all(mut bytes: &[u8]) -> Option<Vec<Tlv<'_>>> {
    let mut values = Vec::new();
    while !bytes.is_empty() {
        let (value, rest) = next(bytes)?;
        values.push(value);
        bytes = rest;
    }
    Some(values)
}

/// A value.
pub fn write(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let mut out = vec![tag];
    match length {
        0..0x80 => out.push(length as u8),
        0x80..0x100 => out.extend([0x81, length as u8]),
        0x100..0x1_0000 => out.extend([0x82, (length >> 8) as u8, length as u8]),
        _ => out.extend([0x83, (length >> 16) as u8, (length >> 8) as u8, length as u8]),
    }
    parts.iter().for_each(|part| out.extend_from_slice(part));
    out
}
