//! Just enough DER to forge with: take a structure apart, change a part, put it together.

/// Header length and content length of the element at the start.
fn header(der: &[u8]) -> (usize, usize) {
    match der[1] {
        length @ 0..=0x7f => (2, length.into()),
        0x81 => (3, der[2].into()),
        0x82 => (4, usize::from(der[2]) << 8 | usize::from(der[3])),
        other => panic!("a length of {other:#x} in a test"),
    }
}

pub fn content(der: &[u8]) -> &[u8] {
    let (start, length) = header(der);
    &der[start..start + length]
}

pub fn children(der: &[u8]) -> Vec<Vec<u8>> {
    let mut rest = content(der);
    let mut children = Vec::new();
    while !rest.is_empty() {
        let (start, length) = header(rest);
        children.push(rest[..start + length].to_vec());
        rest = &rest[start + length..];
    }
    children
}

pub fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len();
    let mut der = match length {
        0..=0x7f => vec![tag, length as u8],
        0x80..=0xff => vec![tag, 0x81, length as u8],
        _ => vec![tag, 0x82, (length >> 8) as u8, length as u8],
    };
    der.extend_from_slice(content);
    der
}

/// `1.2.3.4` and the like are written out by hand: the tests need few.
pub fn extension(oid: &[u8], critical: bool, value: &[u8]) -> Vec<u8> {
    let mut parts = element(6, oid);
    if critical {
        parts.extend_from_slice(&[1, 1, 0xff]);
    }
    parts.extend(element(4, value));
    element(0x30, &parts)
}

/// Replaces the extension of that object identifier, or adds it.
pub fn with_extension(tbs: &[u8], oid: &[u8], replacement: Vec<u8>) -> Vec<u8> {
    let mut parts = children(tbs);
    let last = parts.len() - 1;
    let mut extensions = children(content(&parts[last]));
    let name = element(6, oid);
    match extensions.iter().position(|one| content(one).starts_with(&name)) {
        Some(at) => extensions[at] = replacement,
        None => extensions.push(replacement),
    }
    parts[last] = element(0xa3, &element(0x30, &extensions.concat()));
    element(0x30, &parts.concat())
}

/// Replaces the subject.
pub fn with_subject(tbs: &[u8], subject: Vec<u8>) -> Vec<u8> {
    let mut parts = children(tbs);
    parts[5] = subject;
    element(0x30, &parts.concat())
}
