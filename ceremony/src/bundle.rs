//! What a machine without a network needs for a ceremony, as one tar archive with one spelling.
//!
//! It is no installer and no signature: who unpacks it compares the digest of its sums with one from elsewhere.

use std::collections::BTreeMap;

use sealwright_identity::Digest;

use crate::error::Error;
use crate::files::{Mode, sums, tar};
use crate::outputs::SUMS;

/// The folder that everything is in.
const FOLDER: &str = "sealwright-ceremony";

/// Files of a bundle by their names below its folder.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bundle(BTreeMap<String, (Mode, Vec<u8>)>);

impl Bundle {
    /// Puts a file in.
    ///
    /// # Errors
    /// When one of that name is there, or the name is that of the sums.
    pub fn add(&mut self, name: &str, mode: Mode, bytes: Vec<u8>) -> Result<(), Error> {
        if name == SUMS || self.0.insert(name.to_owned(), (mode, bytes)).is_some() {
            return Err(Error::State(format!("the bundle has a file {name} already")));
        }
        Ok(())
    }

    fn sums(&self) -> String {
        let files = self.0.iter();
        sums(files.map(|(name, (_, bytes))| (name.as_str(), bytes.as_slice())))
    }

    /// The digest of the sums, which names the bundle.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest::of(self.sums().as_bytes())
    }

    /// The archive: the same files are the same bytes.
    ///
    /// # Errors
    /// When a name is longer than an archive holds.
    pub fn archive(&self) -> Result<Vec<u8>, Error> {
        let sums = self.sums();
        let files = self
            .0
            .iter()
            .map(|(name, (mode, bytes))| (format!("{FOLDER}/{name}"), *mode, bytes.as_slice()));
        let sums = (format!("{FOLDER}/{SUMS}"), Mode::Plain, sums.as_bytes());
        tar(std::iter::once(sums).chain(files))
    }
}
