//! `gate.env_file`: variables of the gate's process that nobody else may read.
//!
//! Vendors' modules take passwords from their environment. Those in `[gate.env]` stand in the file that
//! the front reads too. This file is read by the gate alone, which starts itself anew with what is in it.

use std::{fmt, io::Read, os::unix::fs::PermissionsExt, path::Path};

use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

use crate::failure::{Class, Failure};

/// The largest file, in bytes.
const MAX_BYTES: u64 = 64 * 1024;

/// Variables with their secret values.
pub(super) struct Variables(Vec<(String, SecretString)>);

impl fmt::Debug for Variables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.0.iter().map(|(name, _)| name);
        f.debug_set().entries(names).finish()
    }
}

impl Variables {
    /// Reads a file of `NAME=value` lines. Empty lines and those that begin with `#` are left out; a value
    /// is taken as it stands, without quotes or escapes.
    pub(super) fn read(path: &Path) -> Result<Self, Failure> {
        let failed = |problem: String| {
            Failure::text(
                Class::Usage,
                format!("gate.env_file: {}: {problem}", path.display()),
            )
        };
        let text = read_secret(path).map_err(|error| failed(error.to_string()))?;
        let mode = std::fs::metadata(path).map_err(|error| failed(error.to_string()))?;
        if mode.permissions().mode() & 0o077 != 0 {
            return Err(failed("other users may read it; chmod 600".to_owned()));
        }
        Self::parse(&text).map_err(|(line, problem)| failed(format!("line {line}: {problem}")))
    }

    fn parse(text: &str) -> Result<Self, (usize, &'static str)> {
        let mut variables: Vec<(String, SecretString)> = Vec::new();
        for (number, line) in text.lines().enumerate() {
            if line.trim().is_empty() || line.starts_with('#') {
                continue;
            }
            let refused = |problem| Err((number + 1, problem));
            // What stands there may be a secret: it is not repeated.
            let Some((name, value)) = line.split_once('=') else {
                return refused("it is not NAME=value");
            };
            let letters = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
            if name.is_empty() || !name.bytes().all(letters) {
                return refused("the name has something else than letters, digits and underscores");
            }
            if value.contains('\0') {
                return refused("the value has a zero byte");
            }
            if variables.iter().any(|(known, _)| known == name) {
                return refused("the name is there twice");
            }
            variables.push((name.to_owned(), value.into()));
        }
        Ok(Self(variables))
    }

    /// For the process that is started.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .map(|(name, value)| (name.as_str(), value.expose_secret()))
    }
}

fn read_secret(path: &Path) -> std::io::Result<Zeroizing<String>> {
    // Room for all of it at once: a string that grows leaves copies behind.
    let mut text = Zeroizing::new(String::with_capacity(
        usize::try_from(MAX_BYTES).unwrap_or(usize::MAX) + 1,
    ));
    let file = std::fs::File::open(path)?;
    let read = file.take(MAX_BYTES + 1).read_to_string(&mut text)?;
    if u64::try_from(read).unwrap_or(u64::MAX) > MAX_BYTES {
        return Err(std::io::Error::other(format!("above {MAX_BYTES} bytes")));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_taken_as_they_stand() {
        let variables = Variables::parse("# a comment\n\nA=1\nB= two = 2 \nC=\"q\"\n").unwrap();
        let found: Vec<_> = variables.iter().collect();
        assert_eq!(found, [("A", "1"), ("B", " two = 2 "), ("C", "\"q\"")]);
        assert_eq!(format!("{variables:?}"), r#"{"A", "B", "C"}"#);
    }

    #[test]
    fn mistakes_are_named_without_the_secret() {
        for (text, line) in [
            ("hunter2", 1),
            ("A=1\nB C=hunter2", 2),
            ("A=hunter2\n\nA=hunter2", 3),
            ("=hunter2", 1),
            ("A=hunter2\0", 1),
        ] {
            let (found, problem) = Variables::parse(text).unwrap_err();
            assert_eq!(found, line, "{text:?}");
            assert!(!problem.contains("hunter2"), "{problem}");
        }
    }

    #[test]
    fn a_file_that_others_read_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gate.env");
        std::fs::write(&path, "A=hunter2\n").unwrap();
        let mode = |mode| std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        mode(0o640);
        let said = Variables::read(&path).unwrap_err().to_string();
        assert!(said.contains("chmod 600") && !said.contains("hunter2"), "{said}");
        mode(0o600);
        assert_eq!(Variables::read(&path).unwrap().iter().count(), 1);
        assert!(Variables::read(&folder.path().join("absent")).is_err());
    }
}
