//! Reading an object file of SoftHSM, to see whether it is whole.
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

/// True when the file ends with an attribute's end, and has every attribute
/// that its copy has: a file may be cut short between two.
pub(super) fn is_whole(file: &[u8], copy: &[u8]) -> bool {
    match (types(file), types(copy)) {
        (Some(found), Some(kept)) => kept.iter().all(|kind| found.contains(kind)),
        // A copy that cannot be read says nothing; it must not replace anything.
        (_, None) => true,
        (None, Some(_)) => false,
    }
}

/// The types of its attributes, `None` when there is none or one is broken.
fn types(file: &[u8]) -> Option<Vec<u64>> {
    let mut rest = file;
    number(&mut rest)?;
    let mut types = Vec::new();
    while !rest.is_empty() {
        types.push(attribute(&mut rest)?);
    }
    (!types.is_empty()).then_some(types)
}

fn attribute(rest: &mut &[u8]) -> Option<u64> {
    let kind = number(rest)?;
    match number(rest)? {
        BOOLEAN => skip(rest, 1)?,
        NUMBER => skip(rest, 8)?,
        // An inner list of attributes begins with its length, as bytes do.
        BYTES | ATTRIBUTES => {
            let length = number(rest)?;
            skip(rest, length)?;
        }
        MECHANISMS => {
            let count = number(rest)?;
            skip(rest, count.checked_mul(8)?)?;
        }
        _ => return None,
    }
    Some(kind)
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
            file.extend((100 + kind).to_be_bytes());
            file.extend(kind.to_be_bytes());
            file.extend(value);
        }
        file
    }

    #[test]
    fn a_file_that_is_cut_short_is_not_whole() {
        let file = sample();
        assert!(is_whole(&file, &file));
        for length in 0..file.len() {
            assert!(!is_whole(&file[..length], &file), "{length}");
        }
        assert!(!is_whole(&[0xff; 64], &file));
    }

    #[test]
    fn a_file_may_have_more_than_its_copy_and_a_bad_copy_replaces_nothing() {
        let file = sample();
        assert!(is_whole(&file, &file[..8 + 17]));
        assert!(is_whole(&[], &[0xff; 64]));
    }
}
