//! The PIN: where it comes from, and a type that cannot be printed.
//!
//! A file is read at each start; a descriptor and a prompt can be read once
//! only, so after a restart they need an operator (see
//! [`PinError::needs_operator`]). Every buffer that held the PIN is wiped.

mod prompt;

use std::{
    fmt, fs,
    io::{self, Read},
    path::{Path, PathBuf},
    sync::mpsc,
    thread,
    time::Duration,
};

use cryptoki::types::RawAuthPin;
use secrecy::{ExposeSecret, SecretBox};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use zeroize::Zeroizing;

/// Longest PIN that is read, in bytes: beyond what any token allows.
const MAX_BYTES: usize = 1024;

/// How long a descriptor may take to deliver the PIN.
const DESCRIPTOR_DEADLINE: Duration = Duration::from_secs(30);

/// Where the PIN comes from.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PinSource {
    /// A file; one line end at its end is not part of the PIN.
    File(PathBuf),
    /// An inherited descriptor that can be opened anew (a pipe or a file, not
    /// a socket), read once, to its end.
    Fd(u32),
    /// The terminal of the process, without echo, read once.
    Prompt,
}

/// Why there is no PIN.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PinError {
    /// The file cannot be read.
    #[error("cannot read the PIN file {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The descriptor cannot be read.
    #[error("cannot read the PIN from descriptor {fd}")]
    Descriptor {
        /// The descriptor.
        fd: u32,
        /// What the system said.
        source: io::Error,
    },
    /// The descriptor delivered nothing within 30 s.
    #[error("descriptor {0} did not deliver the PIN in time")]
    DescriptorSilent(u32),
    /// There is no terminal, or it cannot be used.
    #[error("cannot ask for the PIN: no usable terminal")]
    Prompt {
        /// What the system said.
        source: io::Error,
    },
    /// Nothing before the end of the line.
    #[error("the PIN from {0} is empty")]
    Empty(PinSource),
    /// More than 1024 bytes.
    #[error("the PIN from {0} is longer than {MAX_BYTES} bytes")]
    TooLong(PinSource),
    /// A PIN that must be text (for a token that is made here) is not.
    #[error("the PIN is not UTF-8")]
    NotText,
}

impl PinError {
    /// True when no restart can help, as the source can be read only once.
    pub fn needs_operator(&self) -> bool {
        match self {
            Self::File { .. } | Self::NotText => false,
            Self::Descriptor { .. } | Self::DescriptorSilent(_) | Self::Prompt { .. } => true,
            Self::Empty(source) | Self::TooLong(source) => !matches!(source, PinSource::File(_)),
        }
    }
}

impl fmt::Display for PinSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "the file {}", path.display()),
            Self::Fd(fd) => write!(f, "descriptor {fd}"),
            Self::Prompt => f.write_str("the prompt"),
        }
    }
}

impl PinSource {
    /// Reads the PIN. Blocks; a prompt waits for a person.
    ///
    /// # Errors
    /// The source is away, silent, empty or absurdly long.
    pub fn read(&self, token: &str) -> Result<Pin, PinError> {
        let bytes = match self {
            Self::File(path) => read_file(path)?,
            Self::Fd(fd) => read_descriptor(*fd)?,
            Self::Prompt => prompt::ask(&format!("PIN of the token {token}: "), MAX_BYTES + 2)
                .map_err(|source| PinError::Prompt { source })?,
        };
        let line = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        match line.len() {
            0 => Err(PinError::Empty(self.clone())),
            length if length > MAX_BYTES => Err(PinError::TooLong(self.clone())),
            _ => Ok(Pin::new(line.to_vec())),
        }
    }
}

/// A PIN. Wiped when dropped, never printed, never cloned.
pub struct Pin(RawAuthPin);

impl Pin {
    /// Takes the bytes over.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(SecretBox::new(Box::new(bytes)))
    }

    /// One PIN of which several people know a part each, in their order.
    #[must_use]
    pub fn join(parts: &[Self]) -> Self {
        let length = parts.iter().map(|part| part.bytes().len()).sum();
        let mut whole = Vec::with_capacity(length);
        for part in parts {
            whole.extend_from_slice(part.bytes());
        }
        Self::new(whole)
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        self.0.expose_secret()
    }

    pub(crate) fn raw(&self) -> &RawAuthPin {
        &self.0
    }

    /// As the text type that PKCS#11's initialising functions take here.
    pub(crate) fn text(&self) -> Result<cryptoki::types::AuthPin, PinError> {
        let text = std::str::from_utf8(self.bytes()).map_err(|_| PinError::NotText)?;
        Ok(cryptoki::types::AuthPin::from(text))
    }
}

impl fmt::Debug for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pin(..)")
    }
}

fn read_file(path: &Path) -> Result<Zeroizing<Vec<u8>>, PinError> {
    let failed = |source| PinError::File {
        path: path.to_owned(),
        source,
    };
    let file = fs::File::open(path).map_err(failed)?;
    warn_if_others_can_read(path, &file);
    read_bounded(file).map_err(failed)
}

fn warn_if_others_can_read(path: &Path, file: &fs::File) {
    use std::os::unix::fs::PermissionsExt;
    if let Ok(metadata) = file.metadata()
        && metadata.permissions().mode() & 0o007 != 0
    {
        tracing::warn!(
            path = %path.display(),
            "every user of this machine may read the PIN file: give it mode 0600"
        );
    }
}

/// Opens the descriptor anew through `/proc`, which needs no unsafe code, and
/// reads on a thread of its own, because a silent pipe would hold the start up.
fn read_descriptor(fd: u32) -> Result<Zeroizing<Vec<u8>>, PinError> {
    let (sender, receiver) = mpsc::sync_channel(1);
    let reader = move || {
        let result = fs::File::open(format!("/proc/self/fd/{fd}")).and_then(read_bounded);
        let _ = sender.send(result);
    };
    thread::Builder::new()
        .name("pin-reader".into())
        .spawn(reader)
        .map_err(|source| PinError::Descriptor { fd, source })?;
    match receiver.recv_timeout(DESCRIPTOR_DEADLINE) {
        Ok(result) => result.map_err(|source| PinError::Descriptor { fd, source }),
        Err(_) => Err(PinError::DescriptorSilent(fd)),
    }
}

/// At most two bytes more than a PIN may have: enough to see that it is too
/// long. The capacity is taken at once, as a growing vector leaves copies.
fn read_bounded(file: fs::File) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_BYTES + 64));
    file.take(MAX_BYTES as u64 + 3).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::{io::Write, os::fd::AsRawFd};

    use super::*;

    fn from_file(content: &[u8]) -> Result<Pin, PinError> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(content).unwrap();
        PinSource::File(file.path().to_owned()).read("test")
    }

    #[test]
    fn one_line_end_is_not_part_of_the_pin() {
        assert_eq!(from_file(b"1234").unwrap().bytes(), b"1234");
        assert_eq!(from_file(b"1234\n").unwrap().bytes(), b"1234");
        assert_eq!(from_file(b"1234\r\n").unwrap().bytes(), b"1234");
        assert_eq!(from_file(b" 12 34\n\n").unwrap().bytes(), b" 12 34\n");
    }

    #[test]
    fn an_empty_or_endless_pin_is_refused() {
        assert!(matches!(from_file(b""), Err(PinError::Empty(_))));
        assert!(matches!(from_file(b"\n"), Err(PinError::Empty(_))));
        assert!(matches!(
            from_file(&[b'1'; MAX_BYTES + 1]),
            Err(PinError::TooLong(_))
        ));
        assert_eq!(from_file(&[b'1'; MAX_BYTES]).unwrap().bytes().len(), MAX_BYTES);
        let missing = PinSource::File("/nonexistent/pin".into()).read("test");
        assert!(!missing.unwrap_err().needs_operator());
    }

    #[test]
    fn a_pipe_delivers_once_and_then_needs_an_operator() {
        let (reader, mut writer) = io::pipe().unwrap();
        writer.write_all(b"secret\n").unwrap();
        drop(writer);
        let source = PinSource::Fd(u32::try_from(reader.as_raw_fd()).unwrap());
        assert_eq!(source.read("test").unwrap().bytes(), b"secret");
        // `reader` keeps the pipe; its content is gone.
        assert!(matches!(
            PinSource::Fd(9999).read("test"),
            Err(error) if error.needs_operator()
        ));
        let again = source.read("test").unwrap_err();
        assert!(matches!(again, PinError::Empty(_)) && again.needs_operator());
    }

    #[test]
    fn debug_shows_nothing() {
        assert_eq!(format!("{:?}", Pin::new(b"1234".to_vec())), "Pin(..)");
    }
}
