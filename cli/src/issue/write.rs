//! Puts three files in place as one set.
//!
//! They are written to a sibling folder, synced, and the folder is renamed, or exchanged with the
//! one that is there: a reader sees the old set or the new one, and so does the next boot.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use crate::{
    failure::{Class, Failure, OrFail},
    files::{self, Temporary},
};

pub(crate) const KEY: &str = "key.pem";
pub(crate) const CHAIN: &str = "cert-chain.pem";
pub(crate) const ROOTS: &str = "root-cert.pem";

/// The folder to write to, judged before a certificate is asked for.
#[derive(Debug)]
pub(crate) struct Place {
    path: PathBuf,
}

impl Place {
    /// # Errors
    /// When it is there and no folder of such a set.
    pub(crate) fn new(out: &Path) -> Result<Self, Failure> {
        let path = std::path::absolute(out).or_fail(Class::Usage)?;
        // Through links, so that the set they lead to is exchanged and not the link.
        let path = path.canonicalize().unwrap_or(path);
        let entries = match fs::read_dir(&path) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self { path }),
            Err(error) => {
                return Err(error).or_fail_doing(Class::Usage, format!("--out {}", path.display()));
            }
        };
        for entry in entries {
            let name = entry.or_fail(Class::Usage)?.file_name();
            if ![KEY, CHAIN, ROOTS].iter().any(|known| *known == name) {
                return Err(Failure::text(
                    Class::Usage,
                    format!(
                        "--out {} holds {:?}, which would be lost; name a folder for this set alone",
                        path.display(),
                        name
                    ),
                ));
            }
        }
        Ok(Self { path })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes the set.
    pub(crate) fn put(&self, key: &str, chain: &str, roots: &str) -> Result<(), Failure> {
        let made = Temporary::beside(&self.path)?;
        files::write(&made.path().join(KEY), key.as_bytes(), 0o600)?;
        files::write(&made.path().join(CHAIN), chain.as_bytes(), 0o644)?;
        files::write(&made.path().join(ROOTS), roots.as_bytes(), 0o644)?;
        let old = fs::metadata(&self.path);
        let permissions = match &old {
            Ok(old) => old.permissions(),
            Err(_) => std::os::unix::fs::PermissionsExt::from_mode(0o755),
        };
        fs::set_permissions(made.path(), permissions).or_fail(Class::Internal)?;
        let put = if old.is_ok() {
            made.exchange_with(&self.path)
        } else {
            made.rename_to(&self.path)
        };
        put.or_fail_doing(
            Class::Internal,
            format!("cannot put the set at {}", self.path.display()),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaces_the_whole_set_and_nothing_else() {
        let root = Temporary::beside(&std::env::temp_dir().join("sealwright-issue")).unwrap();
        let out = root.path().join("web");
        Place::new(&out).unwrap().put("k1", "c1", "r1").unwrap();
        Place::new(&out).unwrap().put("k2", "c2", "r2").unwrap();
        assert_eq!(fs::read(out.join(KEY)).unwrap(), b"k2");
        assert_eq!(fs::read_dir(&out).unwrap().count(), 3);
        assert_eq!(
            fs::read_dir(root.path()).unwrap().count(),
            1,
            "no sibling is left"
        );

        fs::write(out.join("other"), "").unwrap();
        assert_eq!(Place::new(&out).unwrap_err().class(), Class::Usage);
        assert_eq!(Place::new(&out.join(KEY)).unwrap_err().class(), Class::Usage);
    }
}
