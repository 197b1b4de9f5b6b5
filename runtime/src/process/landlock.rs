//! Landlock for the front: what it may read, the one folder it may write, and nothing else. For the
//! gate: where it may write, and perhaps what it may read.
//!
//! Landlock is an allow-list. It also keeps the process from tracing or signalling processes
//! outside (where the kernel can), so it separates even two processes of one user. TCP stays free.

use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, CompatLevel, Compatible, PathBeneath, PathFd, PathFdError, Ruleset, RulesetAttr,
    RulesetCreated, RulesetCreatedAttr, RulesetError, RulesetStatus, Scope,
};

/// What programs of this system need: libraries, names, roots, time, randomness, themselves.
const SYSTEM: &[&str] = &[
    "/usr",
    "/lib",
    "/lib64",
    "/etc/ssl",
    "/etc/pki",
    "/etc/ca-certificates",
    "/etc/resolv.conf",
    "/etc/hosts",
    "/etc/host.conf",
    "/etc/gai.conf",
    "/etc/nsswitch.conf",
    "/etc/localtime",
    "/etc/ld.so.cache",
    "/dev/urandom",
    "/dev/random",
    "/proc/self",
    "/proc/meminfo",
    "/proc/cpuinfo",
    "/sys/fs/cgroup",
    "/sys/devices/system/cpu",
];

/// What the gate's modules read besides: users' names, p11-kit's and SoftHSM's settings.
const USERS: &[&str] = &["/etc/passwd", "/etc/group", "/etc/pkcs11", "/etc/softhsm"];

/// The newest rights that are asked for; older kernels enforce what they have.
const RIGHTS: ABI = ABI::V5;

/// The front's paths.
#[derive(Clone, Debug, Default)]
pub struct Paths {
    /// Files and folders it reads.
    pub read: Vec<PathBuf>,
    /// Folders it keeps its state in.
    pub write: Vec<PathBuf>,
    /// What it must not reach: PIN, token, the gate's home.
    pub secret: Vec<PathBuf>,
}

impl Paths {
    /// Checks that no allowed folder holds a secret one.
    ///
    /// # Errors
    /// With the first pair that does.
    pub fn check(&self) -> Result<(), ConfineError> {
        let system = SYSTEM.iter().map(Path::new);
        let allowed = system
            .chain(self.read.iter().map(PathBuf::as_path))
            .chain(self.write.iter().map(PathBuf::as_path));
        for allowed in allowed {
            // What does not exist is not allowed either.
            let Ok(real) = allowed.canonicalize() else {
                continue;
            };
            for secret in &self.secret {
                let secret_real = secret.canonicalize().unwrap_or_else(|_| secret.clone());
                if secret_real.starts_with(&real) {
                    return Err(ConfineError::Exposed {
                        allowed: allowed.to_owned(),
                        secret: secret.clone(),
                    });
                }
            }
        }
        Ok(())
    }
}

/// Whether this kernel enforces Landlock. Restricts nothing.
///
/// # Errors
/// When it does not, with the reason.
pub fn probe() -> Result<(), ConfineError> {
    Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::from_all(ABI::V1))
        .and_then(Ruleset::create)
        .map(drop)
        .map_err(|source| ConfineError::Unavailable { source })
}

/// Restricts the calling thread, and every thread it starts, for ever. Call it from the main
/// thread before there is another.
///
/// # Errors
/// When the kernel does not enforce it, or a secret lies beneath an allowed folder.
pub fn confine(paths: &Paths) -> Result<(), ConfineError> {
    paths.check()?;
    restrict(Some(&paths.read), &paths.write)
}

/// The same for the gate, which holds the secrets: it writes beneath `write` alone, and reads
/// beneath `read` and the system's folders, or everywhere when there is no list.
///
/// # Errors
/// When the kernel does not enforce it, or a path cannot be opened.
pub fn confine_gate(read: Option<&[PathBuf]>, write: &[PathBuf]) -> Result<(), ConfineError> {
    let more = USERS.iter().map(PathBuf::from);
    let read = read.map(|read| read.iter().cloned().chain(more).collect::<Vec<_>>());
    let terminal = [PathBuf::from("/dev/tty")];
    let write: Vec<_> = write.iter().chain(&terminal).cloned().collect();
    restrict(read.as_deref(), &write)
}

fn restrict(read: Option<&[PathBuf]>, write: &[PathBuf]) -> Result<(), ConfineError> {
    probe()?;
    let broken = |source| ConfineError::Unavailable { source };
    let handled = match read {
        Some(_) => AccessFs::from_all(RIGHTS),
        None => AccessFs::from_write(RIGHTS),
    };
    let mut ruleset = Ruleset::default()
        .handle_access(handled)
        .map_err(broken)?
        .scope(Scope::Signal)
        .map_err(broken)?
        .create()
        .map_err(broken)?;
    if let Some(read) = read {
        let access = AccessFs::from_read(RIGHTS);
        ruleset = allow(ruleset, SYSTEM.iter().map(Path::new), access)?;
        ruleset = allow(ruleset, read.iter().map(PathBuf::as_path), access)?;
    }
    let access = handled & !AccessFs::Execute;
    let null = [PathBuf::from("/dev/null")];
    let write = null.iter().chain(write).map(PathBuf::as_path);
    let ruleset = allow(ruleset, write, access)?;
    let status = ruleset.restrict_self().map_err(broken)?;
    match status.ruleset {
        RulesetStatus::NotEnforced => Err(ConfineError::NotEnforced),
        RulesetStatus::FullyEnforced | RulesetStatus::PartiallyEnforced => Ok(()),
    }
}

/// Adds rules for what exists; what does not cannot be read anyway.
fn allow<'a>(
    mut ruleset: RulesetCreated,
    paths: impl Iterator<Item = &'a Path>,
    access: landlock::BitFlags<AccessFs>,
) -> Result<RulesetCreated, ConfineError> {
    for path in paths {
        let opened = match PathFd::new(path) {
            Ok(opened) => opened,
            Err(PathFdError::OpenCall { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                continue;
            }
            Err(source) => {
                return Err(ConfineError::Path {
                    path: path.to_owned(),
                    source,
                });
            }
        };
        let rights = if path.is_dir() {
            access
        } else {
            access & AccessFs::from_file(RIGHTS)
        };
        ruleset = ruleset
            .add_rule(PathBeneath::new(opened, rights))
            .map_err(|source| ConfineError::Unavailable { source })?;
    }
    Ok(ruleset)
}

/// Why the front is not behind Landlock.
#[derive(Debug, thiserror::Error)]
pub enum ConfineError {
    /// The kernel has none, or it is switched off.
    #[error("this kernel does not offer Landlock (needs 5.13 or later with lsm=landlock)")]
    Unavailable {
        /// Why.
        #[source]
        source: RulesetError,
    },
    /// Accepted but not enforced.
    #[error("the kernel accepted the Landlock rules but does not enforce them")]
    NotEnforced,
    /// Its own files hold a secret one.
    #[error(
        "{} is among the front's folders and holds {}; move one of them", allowed.display(), secret.display()
    )]
    Exposed {
        /// Allowed.
        allowed: PathBuf,
        /// Beneath it.
        secret: PathBuf,
    },
    /// A path of the front cannot be opened.
    #[error("{} cannot be opened for a Landlock rule", path.display())]
    Path {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: PathFdError,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> (tempfile::TempDir, Paths) {
        let home = tempfile::tempdir().unwrap();
        for name in ["front", "gate", "policies"] {
            std::fs::create_dir(home.path().join(name)).unwrap();
        }
        std::fs::write(home.path().join("pin"), "1234").unwrap();
        std::fs::write(home.path().join("gate/ledger.db"), "").unwrap();
        std::fs::write(home.path().join("roots.pem"), "roots").unwrap();
        let paths = Paths {
            read: vec![home.path().join("roots.pem"), home.path().join("policies")],
            write: vec![home.path().join("front")],
            secret: vec![home.path().join("pin"), home.path().join("gate")],
        };
        (home, paths)
    }

    #[test]
    fn refuses_folders_that_hold_a_secret() {
        let (home, mut paths) = folder();
        paths.check().unwrap();
        paths.read.push(home.path().to_owned());
        assert!(matches!(paths.check(), Err(ConfineError::Exposed { .. })));
    }

    #[test]
    fn keeps_the_pin_from_a_confined_thread() {
        if probe().is_err() {
            return;
        }
        let (home, paths) = folder();
        let home = home.path().to_owned();
        // Landlock binds the thread that asks, so the other tests stay free.
        std::thread::spawn(move || {
            confine(&paths).unwrap();
            assert_eq!(std::fs::read_to_string(home.join("roots.pem")).unwrap(), "roots");
            std::fs::write(home.join("front/key"), "k").unwrap();
            std::fs::rename(home.join("front/key"), home.join("front/key2")).unwrap();
            for forbidden in ["pin", "gate/ledger.db", "front/../pin"] {
                let error = std::fs::read(home.join(forbidden)).unwrap_err();
                assert_eq!(error.kind(), std::io::ErrorKind::PermissionDenied, "{forbidden}");
            }
            assert!(std::fs::write(home.join("gate/x"), "").is_err());
            assert!(std::fs::write(home.join("roots.pem"), "").is_err());
            assert!(std::fs::read_dir(&home).is_err());
        })
        .join()
        .unwrap();
    }

    #[test]
    fn a_gate_writes_where_it_may_and_reads_what_it_may() {
        if probe().is_err() {
            return;
        }
        for listed in [true, false] {
            let (home, _) = folder();
            let at = |name: &str| home.path().join(name);
            let (pin, gate, front) = (at("pin"), at("gate"), at("front"));
            std::thread::spawn(move || {
                let read = [pin.clone()];
                confine_gate(listed.then_some(&read[..]), std::slice::from_ref(&gate)).unwrap();
                assert_eq!(std::fs::read_to_string(&pin).unwrap(), "1234");
                std::fs::write(gate.join("ledger.db"), "x").unwrap();
                assert!(std::fs::write(front.join("x"), "").is_err());
                assert!(std::fs::write(&pin, "").is_err());
                assert_eq!(std::fs::read_dir(&front).is_err(), listed);
            })
            .join()
            .unwrap();
        }
    }
}
