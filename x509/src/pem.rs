//! Textual encodings of PKIX structures (RFC 7468): files of many blocks, requests of exactly one.
//!
//! Not here: encrypted blocks and headers (RFC 1421). A header is refused as base64 that is none.

use crate::name::excerpt;
use base64::{Engine as _, engine::general_purpose::STANDARD};

/// The label of certificates.
pub const CERTIFICATE: &str = "CERTIFICATE";
/// The label of certification requests (PKCS#10).
pub const CERTIFICATE_REQUEST: &str = "CERTIFICATE REQUEST";
/// An older label of the same, which some tools still write.
pub const NEW_CERTIFICATE_REQUEST: &str = "NEW CERTIFICATE REQUEST";

const LINE: usize = 64;

/// One block: lines of 64 characters, the last ended too.
#[must_use]
pub fn encode(label: &str, der: &[u8]) -> String {
    let base64 = STANDARD.encode(der);
    let mut text = String::with_capacity(base64.len() + base64.len() / LINE + 2 * label.len() + 36);
    text.push_str("-----BEGIN ");
    text.push_str(label);
    text.push_str("-----\n");
    let mut rest = base64.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at_checked(LINE).unwrap_or((rest, ""));
        text.push_str(line);
        text.push('\n');
        rest = after;
    }
    text.push_str("-----END ");
    text.push_str(label);
    text.push_str("-----\n");
    text
}

/// Every block of a file, in order; text between blocks is allowed, blocks of another label are not.
///
/// # Errors
/// When there is no block, one of another label, or one that is cut off or not base64.
pub fn decode_all(label: &str, text: impl AsRef<[u8]>) -> Result<Vec<Vec<u8>>, PemError> {
    let mut blocks = Vec::new();
    let mut lines = Lines(text.as_ref());
    while let Some(line) = lines.next() {
        if let Some(found) = boundary(line, b"-----BEGIN ") {
            blocks.push(block(found, &[label], &mut lines)?);
        }
    }
    if blocks.is_empty() {
        return Err(PemError::NoBlock);
    }
    Ok(blocks)
}

/// The only block of a text, of one of the labels, with nothing but blank lines around it.
///
/// # Errors
/// When there is no block, a second one, other text, another label, or one cut off or not base64.
pub fn decode_one(labels: &[&str], text: impl AsRef<[u8]>) -> Result<Vec<u8>, PemError> {
    let mut only = None;
    let mut lines = Lines(text.as_ref());
    while let Some(line) = lines.next() {
        match boundary(line, b"-----BEGIN ") {
            Some(_) if only.is_some() => return Err(PemError::SecondBlock),
            Some(found) => only = Some(block(found, labels, &mut lines)?),
            None if line.trim_ascii().is_empty() => {}
            None if only.is_some() => return Err(PemError::TextAfter),
            None => return Err(PemError::NoBlock),
        }
    }
    only.ok_or(PemError::NoBlock)
}

/// The contents of a block whose first line has been read.
fn block(found: &[u8], labels: &[&str], lines: &mut Lines<'_>) -> Result<Vec<u8>, PemError> {
    let Some(label) = labels.iter().find(|label| label.as_bytes() == found) else {
        return Err(PemError::Label {
            found: excerpt(&String::from_utf8_lossy(found)),
        });
    };
    let mut base64 = Vec::with_capacity(lines.0.len());
    for line in lines {
        match boundary(line, b"-----END ") {
            Some(end) if end == label.as_bytes() => {
                return STANDARD.decode(base64).map_err(PemError::Base64);
            }
            Some(_) => return Err(PemError::CutOff),
            None => base64.extend_from_slice(line.trim_ascii()),
        }
    }
    Err(PemError::CutOff)
}

/// The label of a line that begins or ends a block.
fn boundary<'a>(line: &'a [u8], start: &[u8]) -> Option<&'a [u8]> {
    line.trim_ascii_end().strip_prefix(start)?.strip_suffix(b"-----")
}

/// Lines without their ends.
struct Lines<'a>(&'a [u8]);

impl<'a> Iterator for Lines<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        if self.0.is_empty() {
            return None;
        }
        let end = self.0.iter().position(|byte| *byte == b'\n');
        let (line, rest) = match end.and_then(|end| self.0.split_at_checked(end)) {
            Some((line, rest)) => (line, rest.get(1..).unwrap_or_default()),
            None => (self.0, &[][..]),
        };
        self.0 = rest;
        Some(line)
    }
}

/// Why a text is not the PEM that was wanted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PemError {
    /// No `-----BEGIN …-----` line, or other text where it should be.
    #[error("there is no PEM block")]
    NoBlock,
    /// A second block where one is wanted.
    #[error("there is more than one PEM block")]
    SecondBlock,
    /// Something after the only block.
    #[error("there is text after the PEM block")]
    TextAfter,
    /// A block of something else.
    #[error("a PEM block is a {found:?}")]
    Label {
        /// What it says it is.
        found: String,
    },
    /// A block without its end.
    #[error("a PEM block does not end")]
    CutOff,
    /// Contents that are not base64.
    #[error("a PEM block's contents are not base64")]
    Base64(#[source] base64::DecodeError),
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_file_may_have_text_between_its_blocks() {
        let (a, b) = (encode(CERTIFICATE, b"a"), encode(CERTIFICATE, b"b"));
        let file = format!("# first\r\n{a}\nsubject=x\n{b}");
        assert_eq!(decode_all(CERTIFICATE, file).unwrap(), [b"a", b"b"]);
        let windows = a.replace('\n', "\r\n");
        assert_eq!(decode_all(CERTIFICATE, windows).unwrap(), [b"a"]);
        assert_eq!(decode_all(CERTIFICATE, a.trim_end()).unwrap(), [b"a"]);
    }

    #[test]
    fn a_file_with_another_block_is_refused() {
        let key = encode("PRIVATE KEY", b"k");
        assert_eq!(
            decode_all(CERTIFICATE, key),
            Err(PemError::Label {
                found: "PRIVATE KEY".to_owned()
            })
        );
        assert_eq!(decode_all(CERTIFICATE, "junk"), Err(PemError::NoBlock));
        assert_eq!(decode_all(CERTIFICATE, ""), Err(PemError::NoBlock));
    }

    #[test]
    fn a_request_is_one_block_and_nothing_else() {
        let labels = &[CERTIFICATE_REQUEST, NEW_CERTIFICATE_REQUEST];
        let one = encode(CERTIFICATE_REQUEST, b"abc");
        let table = [
            (one.clone(), Ok(b"abc".to_vec())),
            (format!("\n  \n{one}\n\r\n"), Ok(b"abc".to_vec())),
            (encode(NEW_CERTIFICATE_REQUEST, b"abc"), Ok(b"abc".to_vec())),
            (format!("{one}{one}"), Err(PemError::SecondBlock)),
            (format!("{one}x"), Err(PemError::TextAfter)),
            (format!("x\n{one}"), Err(PemError::NoBlock)),
            (one.replace("-----END", "-----AND"), Err(PemError::CutOff)),
            (one.chars().take(40).collect(), Err(PemError::CutOff)),
            (String::new(), Err(PemError::NoBlock)),
        ];
        for (text, expected) in table {
            assert_eq!(decode_one(labels, &text), expected, "{text:?}");
        }
        for broken in ["YWJj=", "Proc-Type: 4,ENCRYPTED\nYWJj", "YWJ", "YW=Jj"] {
            let text = one.replace("YWJj", broken);
            assert!(
                matches!(decode_one(labels, &text), Err(PemError::Base64(_))),
                "{broken}"
            );
        }
    }

    proptest! {
        #[test]
        fn decodes_what_it_encodes(blocks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 1..4)) {
            let text: String = blocks.iter().map(|der| encode(CERTIFICATE, der)).collect();
            prop_assert!(text.lines().all(|line| line.len() <= LINE));
            prop_assert_eq!(decode_all(CERTIFICATE, text).unwrap(), blocks);
        }

        #[test]
        fn never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode_one(&[CERTIFICATE], &bytes);
            let _ = decode_all(CERTIFICATE, &bytes);
        }
    }
}
