//! Machine code of components, kept between starts of one host.
//!
//! What it is: a folder of files, each the code of one component for one engine on one processor, so
//! that a start compiles nothing that was compiled before. What it is not: a source of policies (the
//! component's own bytes are needed to ask for its code), and nothing to be carried to other hosts.
//!
//! Invariant: bytes become code only when they bear the tag that this folder's key gives to this
//! component under this engine. wasmtime runs whatever it is handed, so everything odd (an owner, a
//! mode, a length, a tag) means that the component is compiled from its bytes, and is said. Whoever
//! can read the key can make code: the folder is its owner's alone, and who has taken over that
//! user's process may still be there after its next start.

mod folder;

use std::{
    hash::{Hash as _, Hasher},
    io,
    path::{Path, PathBuf},
};

use aws_lc_rs::{digest, hmac, rand};
use sealwright_identity::Digest;
use wasmtime::component::Component;

use self::folder::Folder;

/// The form of a file, and what is tagged before the code.
const FORM: &[u8] = b"sealwright-code/1\0";
const KEY_FILE: &str = "key";
const KEY_BYTES: usize = 32;
const TAG_BYTES: usize = 32;
/// Code of the runtimes of other languages has some 40 MB.
const MAX_CODE_BYTES: usize = 256 << 20;

/// The code that was kept for one engine.
#[derive(Debug)]
pub(crate) struct Precompiled {
    folder: Folder,
    key: hmac::Key,
    /// Of everything of engine and processor that code depends on.
    environment: Digest,
}

/// Why kept code was not used, or not kept.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PrecompiledError {
    /// The folder cannot be trusted or used.
    #[error("{} cannot hold code: {reason}", path.display())]
    Folder { path: PathBuf, reason: &'static str },
    /// A file cannot be trusted.
    #[error("the file {name} is not as it was written: {reason}")]
    File { name: String, reason: &'static str },
    /// The system failed.
    #[error("{}", path.display())]
    Io {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// No randomness for a key or a name.
    #[error("the system gave no randomness")]
    Random,
    /// wasmtime did not take the code, or did not give it.
    #[error("the code cannot be used")]
    Code(#[source] wasmtime::Error),
}

impl Precompiled {
    /// Opens the folder, which is made when it is not there, with its key.
    pub(crate) fn open(
        path: &Path,
        engine: &wasmtime::Engine,
        profile: Digest,
    ) -> Result<Self, PrecompiledError> {
        let folder = Folder::open(path)?;
        let key = match folder.read(KEY_FILE, KEY_BYTES) {
            Ok(Some(key)) if key.len() == KEY_BYTES => key,
            Ok(None) => new_key(&folder)?,
            Ok(Some(_)) | Err(_) => {
                // What bears the old one's tag is compiled again.
                tracing::warn!(folder = %path.display(), "the key of the kept code cannot be used; it is replaced");
                new_key(&folder)?
            }
        };
        Ok(Self {
            folder,
            key: hmac::Key::new(hmac::HMAC_SHA256, &key),
            environment: environment(engine, profile),
        })
    }

    /// The code of the component with that digest, if it was kept.
    pub(crate) fn load(
        &self,
        engine: &wasmtime::Engine,
        module: Digest,
    ) -> Result<Option<Component>, PrecompiledError> {
        let name = self.name(module);
        let Some(file) = self.folder.read(&name, MAX_CODE_BYTES + TAG_BYTES)? else {
            return Ok(None);
        };
        let odd = |reason| PrecompiledError::File {
            name: name.clone(),
            reason,
        };
        let (tag, code) = file
            .split_at_checked(TAG_BYTES)
            .ok_or_else(|| odd("it is too short"))?;
        let mine = self.tag(module, code);
        aws_lc_rs::constant_time::verify_slices_are_equal(mine.as_ref(), tag)
            .map_err(|_differs| odd("its tag is not this folder's"))?;
        authentic(engine, code).map(Some).map_err(PrecompiledError::Code)
    }

    /// Keeps the code of the component with that digest.
    pub(crate) fn store(&self, module: Digest, component: &Component) -> Result<(), PrecompiledError> {
        let code = component.serialize().map_err(PrecompiledError::Code)?;
        if code.len() > MAX_CODE_BYTES {
            return Ok(());
        }
        let tag = self.tag(module, &code);
        self.folder.write(&self.name(module), &[tag.as_ref(), &code])?;
        self.folder.prune(KEY_FILE)
    }

    fn name(&self, module: Digest) -> String {
        let [module, environment] = [module, self.environment].map(|digest| hex::encode(digest.as_bytes()));
        format!("{module}-{environment}")
    }

    fn tag(&self, module: Digest, code: &[u8]) -> hmac::Tag {
        let mut context = hmac::Context::with_key(&self.key);
        // Every part but the last has a fixed length.
        context.update(FORM);
        context.update(self.environment.as_bytes());
        context.update(module.as_bytes());
        context.update(code);
        context.sign()
    }
}

fn new_key(folder: &Folder) -> Result<Vec<u8>, PrecompiledError> {
    let mut key = vec![0; KEY_BYTES];
    rand::fill(&mut key).map_err(|_| PrecompiledError::Random)?;
    folder.write(KEY_FILE, &[&key])?;
    Ok(key)
}

#[expect(
    unsafe_code,
    reason = "code whose tag says that this engine made it from this component; the bytes are in memory since before the tag was verified"
)]
fn authentic(engine: &wasmtime::Engine, code: &[u8]) -> wasmtime::Result<Component> {
    // SAFETY: the only caller has verified the tag, with a key that is this user's alone; wasmtime
    // itself refuses code of another version, of other settings, or for another processor.
    unsafe { Component::deserialize(engine, code) }
}

/// wasmtime's own word for what compiled code depends on, which includes the target and the
/// features of this processor, and the profile that records name.
fn environment(engine: &wasmtime::Engine, profile: Digest) -> Digest {
    let mut hasher = Feed(digest::Context::new(&digest::SHA256));
    hasher.write(profile.as_bytes());
    engine.precompile_compatibility_hash().hash(&mut hasher);
    let mut bytes = [0; 32];
    bytes.copy_from_slice(hasher.0.finish().as_ref());
    Digest::from_bytes(bytes)
}

/// SHA-256 as the standard library's hasher: a hash of 64 bits would be too short a name.
struct Feed(digest::Context);

impl Hasher for Feed {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        0
    }
}
