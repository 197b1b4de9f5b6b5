//! What the gate gives up before it loads a PKCS#11 module that nobody here wrote.
//!
//! The module runs in the gate's process: it sees the PIN and the ledger whatever is done here. What
//! can be taken from it are the ways to carry them out, or to get hold of the rest of the machine:
//! capabilities, other programs, the network, files that are not the gate's. How much a module needs
//! differs, so each part can be given back by name.

use std::{fmt, path::PathBuf};

use super::{
    ProcessError, drop_capabilities_of_gate,
    landlock::{self, ConfineError},
    seccomp::{self, Calls, SeccompError, Sockets},
};
use crate::Chain;

/// What a gate is to keep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The calls that it keeps.
    pub calls: Calls,
    /// The files that it keeps; `None` leaves them all.
    pub files: Option<Files>,
    /// Whether a part that does not work here is an error.
    pub or_no_start: bool,
}

/// Files that a gate keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// What it reads besides the system's folders; `None` is everything.
    pub read: Option<Vec<PathBuf>>,
    /// What it writes.
    pub write: Vec<PathBuf>,
}

/// What holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Confinement {
    held: Option<Held>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Held {
    calls: Result<Calls, String>,
    files: Option<Result<Files, String>>,
}

impl Confinement {
    /// Whether the module may miss something.
    #[must_use]
    pub fn is_some(&self) -> bool {
        self.held.is_some()
    }

    /// Whether a part that was wanted does not work here.
    #[must_use]
    pub fn is_partial(&self) -> bool {
        let partial = |held: &Held| held.calls.is_err() || matches!(held.files, Some(Err(_)));
        self.held.as_ref().is_some_and(partial)
    }
}

/// Confines the calling thread, and every thread it starts, for ever. Call it from the main thread
/// before there is another.
///
/// # Errors
/// When capabilities cannot be dropped, or another part does not work and must.
pub fn confine(wanted: Wanted) -> Result<Confinement, ConfinementError> {
    drop_capabilities_of_gate()?;
    let files = match wanted.files {
        None => None,
        Some(files) => match landlock::confine_gate(files.read.as_deref(), &files.write) {
            Ok(()) => Some(Ok(files)),
            // Not the kernel's lack but a path of the configuration: always said.
            Err(error @ ConfineError::Path { .. }) => return Err(error.into()),
            Err(error) if wanted.or_no_start => return Err(error.into()),
            Err(error) => Some(Err(Chain(&error).to_string())),
        },
    };
    let calls = match seccomp::refuse(wanted.calls) {
        Ok(()) => Ok(wanted.calls),
        Err(error) if wanted.or_no_start => return Err(error.into()),
        Err(error) => Err(Chain(&error).to_string()),
    };
    Ok(Confinement {
        held: Some(Held { calls, files }),
    })
}

impl fmt::Display for Confinement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(held) = &self.held else {
            return f.write_str("none");
        };
        f.write_str("no privileges")?;
        match &held.calls {
            Ok(calls) => {
                f.write_str(match calls.processes {
                    true => ", helper programs",
                    false => ", no other program",
                })?;
                f.write_str(match calls.sockets {
                    Sockets::Internet => ", network",
                    Sockets::Unix => ", no network",
                })?;
            }
            Err(why) => write!(f, ", all system calls ({why})")?,
        }
        match &held.files {
            None => f.write_str(", all files"),
            Some(Err(why)) => write!(f, ", all files ({why})"),
            Some(Ok(files)) => {
                f.write_str(match files.read {
                    Some(_) => ", reads listed files",
                    None => ", reads all files",
                })?;
                f.write_str(", writes beneath ")?;
                for (number, path) in files.write.iter().enumerate() {
                    let comma = if number == 0 { "" } else { " and " };
                    write!(f, "{comma}{}", path.display())?;
                }
                Ok(())
            }
        }
    }
}

/// Why a gate that must be confined is not.
#[derive(Debug, thiserror::Error)]
pub enum ConfinementError {
    /// Capabilities.
    #[error("capabilities cannot be dropped")]
    Capabilities(#[from] ProcessError),
    /// Files.
    #[error("the gate's files cannot be confined; see gate.confinement")]
    Files(#[from] ConfineError),
    /// System calls.
    #[error("the gate's system calls cannot be confined; see gate.confinement")]
    Calls(#[from] SeccompError),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(calls: Result<Calls, String>, files: Option<Result<Files, String>>) -> Confinement {
        Confinement {
            held: Some(Held { calls, files }),
        }
    }

    #[test]
    fn says_what_holds_and_what_does_not() {
        let calls = Calls {
            sockets: Sockets::Unix,
            processes: false,
        };
        let files = Files {
            read: None,
            write: vec!["/a".into(), "/b".into()],
        };
        let whole = held(Ok(calls), Some(Ok(files)));
        assert_eq!(
            whole.to_string(),
            "no privileges, no other program, no network, reads all files, writes beneath /a and /b"
        );
        assert!(whole.is_some() && !whole.is_partial());
        let half = held(Err("old kernel".into()), Some(Err("older".into())));
        assert_eq!(
            half.to_string(),
            "no privileges, all system calls (old kernel), all files (older)"
        );
        assert!(half.is_partial());
        assert_eq!(Confinement::default().to_string(), "none");
    }
}
