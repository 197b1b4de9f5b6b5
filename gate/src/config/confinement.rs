//! `[gate.confinement]`: what the gate's process keeps while a PKCS#11 module runs in it.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::resolve;

/// `[gate.confinement]`
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ConfinementConfig {
    /// How much is taken away.
    pub mode: Confine,
    /// The module reaches its token over the network.
    pub network: bool,
    /// The module starts programs of its own.
    pub processes: bool,
    /// Files and folders the module reads, beyond the system's and those that the configuration names.
    pub read: Vec<PathBuf>,
    /// Folders and devices the module writes, beyond the gate's home and SoftHSM's tokens.
    pub write: Vec<PathBuf>,
}

/// How much is taken away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Confine {
    /// Privileges and system calls; writing where the token's folder is known. What does not work here is
    /// said.
    #[default]
    Auto,
    /// All that, and reading, or no start.
    Strict,
    /// Nothing.
    Off,
}

impl ConfinementConfig {
    pub(super) fn resolve(&mut self, base: &Path) {
        for path in self.read.iter_mut().chain(&mut self.write) {
            resolve(base, path);
        }
    }
}
