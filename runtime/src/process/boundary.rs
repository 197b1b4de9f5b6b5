//! What separates a front that was taken over from the gate's PIN, token and ledger.
//!
//! As root two users do, if the front's can reach the front's files; otherwise Landlock does,
//! also for two processes of one user. Where neither works, that is said and nothing is claimed.

use std::{
    fmt, fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::landlock::{self, Paths};

/// Everyone's nobody, when no user is configured.
const NOBODY: u32 = 65534;

/// What the configuration asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// The best that works.
    Auto,
    /// Two users, or no start.
    Users,
    /// Landlock, or no start.
    Landlock,
    /// None.
    None,
}

/// What was obtained.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "boundary", rename_all = "lowercase")]
pub enum Boundary {
    /// The front runs as another user, and under Landlock where the kernel has it.
    Users {
        /// The front's user id.
        uid: u32,
        /// The front's group id.
        gid: u32,
    },
    /// One user; the front is under Landlock.
    Landlock {
        /// Why not two users.
        why_not_users: String,
    },
    /// One user and nothing between.
    None {
        /// Why.
        reason: String,
    },
}

impl fmt::Display for Boundary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Users { uid, gid } => write!(f, "two users: the front runs as {uid}:{gid}"),
            Self::Landlock { why_not_users } => {
                write!(f, "Landlock on the front, one user ({why_not_users})")
            }
            Self::None { reason } => write!(
                f,
                "one user, not a boundary against a taken-over front ({reason})"
            ),
        }
    }
}

/// Chooses what works, changing nothing.
///
/// `user` is the configured front user, a name or a number. `program` is what the front executes.
///
/// # Errors
/// When what is wanted by name does not work.
pub fn choose(
    wanted: Wanted,
    user: Option<&str>,
    paths: &Paths,
    program: &Path,
) -> Result<Boundary, BoundaryError> {
    let by_users = || users(user, paths, program);
    let by_landlock = || paths.check().and_then(|()| landlock::probe());
    match wanted {
        Wanted::Users => by_users().map_err(|reason| BoundaryError::Users { reason }),
        Wanted::Landlock => match by_landlock() {
            Ok(()) => Ok(Boundary::Landlock {
                why_not_users: "as configured".to_owned(),
            }),
            Err(source) => Err(BoundaryError::Landlock { source }),
        },
        Wanted::None => Ok(Boundary::None {
            reason: "as configured".to_owned(),
        }),
        Wanted::Auto => Ok(by_users().unwrap_or_else(|why_not_users| match by_landlock() {
            Ok(()) => Boundary::Landlock { why_not_users },
            Err(error) => Boundary::None {
                reason: format!("{why_not_users}; {}", crate::Chain(&error)),
            },
        })),
    }
}

/// Two users, or why not.
fn users(user: Option<&str>, paths: &Paths, program: &Path) -> Result<Boundary, String> {
    if !rustix::process::geteuid().is_root() {
        return Err("not started as root".to_owned());
    }
    let (uid, gid) = match user {
        Some(user) => find_user(user)?,
        None => (NOBODY, NOBODY),
    };
    if uid == 0 {
        return Err("the front's user is root".to_owned());
    }
    let someone = Someone { uid, gid };
    let files = paths.read.iter().map(PathBuf::as_path).chain([program]);
    for path in files.filter(|path| path.exists()) {
        someone.can(path, READ)?;
    }
    for path in &paths.write {
        // The folder itself is given to the front; the way to it is what counts.
        someone.can_reach(path)?;
    }
    for path in paths.secret.iter().filter(|path| path.is_file()) {
        if someone.can(path, READ).is_ok() {
            return Err(format!("user {uid} can read {}", path.display()));
        }
    }
    Ok(Boundary::Users { uid, gid })
}

/// A user by name or number, from the password file.
fn find_user(user: &str) -> Result<(u32, u32), String> {
    let passwd = fs::read_to_string("/etc/passwd").map_err(|error| format!("/etc/passwd: {error}"))?;
    let found = passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (name, _, uid, gid) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
        (name == user || uid == user).then_some((uid.parse().ok()?, gid.parse().ok()?))
    });
    match (found, user.parse::<u32>()) {
        (Some(ids), _) => Ok(ids),
        (None, Ok(number)) => Ok((number, number)),
        (None, Err(_)) => Err(format!("there is no user {user:?}")),
    }
}

const READ: u32 = 0o4;
const SEARCH: u32 = 0o1;

struct Someone {
    uid: u32,
    gid: u32,
}

impl Someone {
    fn can(&self, path: &Path, rights: u32) -> Result<(), String> {
        self.can_reach(path)?;
        let search = if path.is_dir() { SEARCH } else { 0 };
        self.has(path, rights | search)
    }

    /// Every folder on the way can be searched.
    fn can_reach(&self, path: &Path) -> Result<(), String> {
        let real = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        real.ancestors()
            .skip(1)
            .try_for_each(|folder| self.has(folder, SEARCH))
    }

    fn has(&self, path: &Path, rights: u32) -> Result<(), String> {
        let metadata = fs::metadata(path).map_err(|error| format!("{}: {error}", path.display()))?;
        let mode = metadata.mode();
        let granted = if metadata.uid() == self.uid {
            mode >> 6
        } else if metadata.gid() == self.gid {
            mode >> 3
        } else {
            mode
        };
        if granted & rights == rights {
            Ok(())
        } else {
            Err(format!("user {} has no access to {}", self.uid, path.display()))
        }
    }
}

/// Why a boundary that was asked for by name is not there.
#[derive(Debug, thiserror::Error)]
pub enum BoundaryError {
    /// Two users do not work.
    #[error("gate.boundary is \"users\", but {reason}; mend that or use \"auto\"")]
    Users {
        /// Why.
        reason: String,
    },
    /// Landlock does not work.
    #[error("gate.boundary is \"landlock\", but it does not work here; use \"auto\" or \"users\"")]
    Landlock {
        /// Why.
        #[source]
        source: landlock::ConfineError,
    },
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn judges_modes_as_the_kernel_does() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("f");
        fs::write(&file, "").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        let owner = fs::metadata(&file).unwrap();
        let stranger = Someone {
            uid: owner.uid() + 1,
            gid: owner.gid() + 1,
        };
        let member = Someone {
            uid: owner.uid() + 1,
            gid: owner.gid(),
        };
        assert!(stranger.has(&file, READ).is_err());
        assert!(member.has(&file, READ).is_ok());
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700)).unwrap();
        assert!(stranger.can_reach(&file).is_err());
    }

    #[test]
    fn says_what_it_is_when_nothing_was_asked_for() {
        let none = choose(Wanted::None, None, &Paths::default(), Path::new("/bin/true")).unwrap();
        assert!(none.to_string().contains("not a boundary"), "{none}");
    }

    #[test]
    fn finds_users_by_name_and_number() {
        assert_eq!(find_user("root").unwrap(), (0, 0));
        assert_eq!(find_user("4000000").unwrap(), (4_000_000, 4_000_000));
        assert!(find_user("no such user").is_err());
    }
}
