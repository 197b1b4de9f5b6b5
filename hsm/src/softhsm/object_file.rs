//! Whether an object file of SoftHSM is whole.
//!
//! The file is a generation number and attributes up to its end; numbers have
//! eight bytes, most significant first. An attribute is its type, the kind of
//! its value, and the value.

/// Kinds of values.
const BOOLEAN: u64 = 1;
const NUMBER: u64 = 2;
const BYTES: u64 = 3;
const ATTRIBUTES: u64 = 4;
const MECHANISMS: u64 = 5;

/// True when the file has at least one attribute and ends with one.
pub(super) fn is_whole(file: &[u8]) -> bool {
    let mut rest = file;
    if number(&mut rest).is_none() || rest.is_empty() {
        return false;
    }
    while !rest.is_empty() {
        if attribute(&mut rest).is_none() {
            return false;
        }
    }
    true
}

fn attribute(rest: &mut &[u8]) -> Option<()> {
    number(rest)?;
    match number(rest)? {
        BOOLEAN => skip(rest, 1),
        NUMBER => skip(rest, 8),
        // An inner list of attributes begins with its length, as bytes do.
        BYTES | ATTRIBUTES => {
            let length = number(rest)?;
            skip(rest, length)
        }
        MECHANISMS => {
            let count = number(rest)?;
            skip(rest, count.checked_mul(8)?)
        }
        _ => None,
    }
}

fn number(rest: &mut &[u8]) -> Option<u64> {
    let (head, tail) = rest.split_first_chunk::<8>()?;
    *rest = tail;
    Some(u64::from_be_bytes(*head))
}

fn skip(rest: &mut &[u8], count: u64) -> Option<()> {
    *rest = rest.get(usize::try_from(count).ok()?..)?;
    Some(())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A generation and one attribute of each kind.
    pub(crate) fn sample() -> Vec<u8> {
        let mut file = 7_u64.to_be_bytes().to_vec();
        for (kind, value) in [
            (BOOLEAN, vec![1]),
            (NUMBER, vec![0; 8]),
            (BYTES, [&3_u64.to_be_bytes()[..], b"abc"].concat()),
            (MECHANISMS, [1_u64.to_be_bytes(), [0; 8]].concat()),
        ] {
            file.extend(9_u64.to_be_bytes());
            file.extend(kind.to_be_bytes());
            file.extend(value);
        }
        file
    }

    #[test]
    fn a_file_that_is_cut_short_is_not_whole() {
        let file = sample();
        assert!(is_whole(&file));
        // A cut between two attributes cannot be seen here.
        let between = [25 + 8, 25 + 8 + 24 - 8, 57, 84];
        for length in (0..file.len()).filter(|length| !between.contains(length)) {
            let cut = &file[..length];
            let ends_with_an_attribute = [33 - 8, 49, 76].contains(&length);
            assert!(ends_with_an_attribute || !is_whole(cut), "{length}");
        }
        assert!(!is_whole(&[0xff; 64]));
        assert!(!is_whole(&[]));
    }
}
