//! From a core module, as a compiler writes it, to a component.
//!
//! The bytes depend on the core module, the note and the version of the encoder alone. What made the
//! module stands in a custom section of the component, which no host executes: whoever builds it again
//! and gets other bytes sees whether another compiler is the reason.

use serde::{Deserialize, Serialize};
use wit_component::ComponentEncoder;

use crate::settings;

/// The version of the encoder that this program is built with.
pub const ENCODER: &str = "wit-component 0.254";

/// The custom section that holds a [`BuildNote`].
const SECTION: &str = "sealwright:build";
const CUSTOM: u8 = 0;
const HEADER: usize = 8;

/// What made a module. No folder, no host, no time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BuildNote {
    /// The first line of `rustc -vV`.
    pub compiler: String,
    /// Where the standard library is from: `prebuilt`, or `build-std`.
    pub standard_library: String,
    /// The linker's own word for itself.
    pub linker: String,
    /// [`ENCODER`].
    pub encoder: String,
}

/// Makes a component of a core module that was built with the SDK's bindings.
///
/// # Errors
/// When the module does not have the types of a component's world in it, or is no WebAssembly.
pub fn componentize(core: &[u8], note: &BuildNote) -> Result<Vec<u8>, EncodeError> {
    let encoded = ComponentEncoder::default()
        .module(core)
        .and_then(|encoder| encoder.validate(true).encode());
    // The error of the library has its reasons as a chain of texts.
    let mut component = encoded.map_err(|error| EncodeError(format!("{error:#}")))?;
    append_custom_section(&mut component, settings::canonical(note).as_bytes());
    Ok(component)
}

/// What a component says about how it was made; `None` where it does not.
#[must_use]
pub fn build_note(component: &[u8]) -> Option<BuildNote> {
    let mut rest = component.get(HEADER..)?;
    while let Some((&id, after)) = rest.split_first() {
        let (size, after) = read_number(after)?;
        let (body, next) = after.split_at_checked(size)?;
        if id == CUSTOM
            && let Some((length, body)) = read_number(body)
            && let Some((name, text)) = body.split_at_checked(length)
            && name == SECTION.as_bytes()
        {
            return serde_json::from_slice(text).ok();
        }
        rest = next;
    }
    None
}

fn append_custom_section(component: &mut Vec<u8>, text: &[u8]) {
    let mut body = Vec::new();
    write_number(&mut body, SECTION.len());
    body.extend(SECTION.as_bytes());
    body.extend(text);
    component.push(CUSTOM);
    write_number(component, body.len());
    component.extend(body);
}

/// LEB128, as WebAssembly writes its sizes.
fn write_number(out: &mut Vec<u8>, mut value: usize) {
    loop {
        let low = u8::try_from(value & 0x7f).unwrap_or(0);
        value >>= 7;
        if value == 0 {
            return out.push(low);
        }
        out.push(low | 0x80);
    }
}

fn read_number(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let mut value = 0_usize;
    for (place, byte) in bytes.iter().take(5).enumerate() {
        value |= usize::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            return Some((value, bytes.get(place + 1..)?));
        }
    }
    None
}

/// Why a core module was not made a component.
#[derive(Debug, thiserror::Error)]
#[error("the module cannot be made a component: {0}")]
pub struct EncodeError(String);

#[cfg(test)]
mod tests {
    use super::*;

    fn note() -> BuildNote {
        BuildNote {
            compiler: "rustc 1.95.0".to_owned(),
            standard_library: "prebuilt".to_owned(),
            linker: "LLD 19".to_owned(),
            encoder: ENCODER.to_owned(),
        }
    }

    #[test]
    fn the_note_reads_back_behind_other_sections() {
        let mut component = b"\0asm\x0d\0\x01\0".to_vec();
        component.extend([0, 5, 4]);
        component.extend(b"name");
        component.extend([7, 1, 0]);
        assert_eq!(build_note(&component), None);
        append_custom_section(&mut component, settings::canonical(&note()).as_bytes());
        assert_eq!(build_note(&component), Some(note()));
        for end in 0..component.len() {
            // Anything cut off has no note, and does no harm.
            assert_eq!(build_note(&component[..end]), None);
        }
    }

    #[test]
    fn numbers_read_back() {
        for value in [0, 1, 127, 128, 300, 1 << 20, (1 << 32) - 1] {
            let mut bytes = Vec::new();
            write_number(&mut bytes, value);
            assert_eq!(read_number(&bytes), Some((value, &[][..])));
        }
        assert_eq!(read_number(&[0x80; 6]), None);
    }

    #[test]
    fn says_what_is_not_a_guest() {
        for core in [&b""[..], b"\0asm\x01\0\0\0", b"ELF"] {
            let error = componentize(core, &note());
            // An empty module is one, of no world: its component is refused when it is loaded.
            if let Err(error) = error {
                assert!(
                    error
                        .to_string()
                        .starts_with("the module cannot be made a component: ")
                );
            }
        }
    }

    #[test]
    fn names_the_version_that_is_locked() {
        let lock = include_str!("../../Cargo.lock");
        let version = ENCODER.replace(' ', "\"\nversion = \"");
        assert!(lock.contains(&format!("name = \"{version}.")), "{ENCODER}");
    }
}
