//! The little DER that keys and signatures need: written, never parsed, but
//! for the octet string that tokens wrap points in.

pub(crate) const SEQUENCE: u8 = 0x30;
pub(crate) const BIT_STRING: u8 = 0x03;
pub(crate) const OCTET_STRING: u8 = 0x04;
const INTEGER: u8 = 0x02;

/// One element with its parts as content.
pub(crate) fn element(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let mut der = Vec::with_capacity(length + 6);
    der.push(tag);
    push_length(&mut der, length);
    for part in parts {
        der.extend_from_slice(part);
    }
    der
}

/// A number that is not negative, from its big-endian bytes: the fewest octets.
pub(crate) fn unsigned(bytes: &[u8]) -> Vec<u8> {
    let start = bytes.iter().position(|&byte| byte != 0);
    let digits = start.and_then(|start| bytes.get(start..)).unwrap_or(&[0]);
    let sign: &[u8] = match digits.first() {
        Some(first) if first & 0x80 != 0 => &[0],
        _ => &[],
    };
    element(INTEGER, &[sign, digits])
}

/// The content of an octet string that is shorter than 128 bytes, which each
/// point of the curves here is; `None` when it is anything else.
pub(crate) fn short_octet_string(der: &[u8]) -> Option<&[u8]> {
    match der {
        [OCTET_STRING, length, content @ ..] if *length < 0x80 && usize::from(*length) == content.len() => {
            Some(content)
        }
        _ => None,
    }
}

fn push_length(der: &mut Vec<u8>, length: usize) {
    match u8::try_from(length) {
        Ok(short) if short < 0x80 => der.push(short),
        _ => {
            let bytes = length.to_be_bytes();
            let significant = bytes.iter().skip_while(|&&byte| byte == 0);
            let count = significant.clone().count();
            der.push(0x80 | u8::try_from(count).unwrap_or(0));
            der.extend(significant);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_and_signs_are_minimal() {
        assert_eq!(element(0x30, &[&[1; 127]])[..2], [0x30, 0x7f]);
        assert_eq!(element(0x30, &[&[1; 128]])[..3], [0x30, 0x81, 0x80]);
        assert_eq!(element(0x30, &[&[1; 256]])[..4], [0x30, 0x82, 1, 0]);
        assert_eq!(unsigned(&[]), [2, 1, 0]);
        assert_eq!(unsigned(&[0, 0, 0x7f]), [2, 1, 0x7f]);
        assert_eq!(unsigned(&[0, 0x80]), [2, 2, 0, 0x80]);
    }

    #[test]
    fn only_a_whole_octet_string_is_unwrapped() {
        assert_eq!(short_octet_string(&[4, 2, 7, 8]), Some(&[7, 8][..]));
        assert_eq!(short_octet_string(&[4, 3, 7, 8]), None);
        assert_eq!(short_octet_string(&[4, 0x81, 1]), None);
        assert_eq!(short_octet_string(&[]), None);
    }
}
