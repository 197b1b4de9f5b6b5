//! What a start leaves in the ledger: which binary, with which configuration, as whom, with
//! which token, keys and policies. Modules, settings and chains are stored by digest.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::digest::{Context, SHA256};
use sealwright_hsm::TokenInfo;
use sealwright_identity::{CommonName, Digest};
use sealwright_ledger::{
    BlobKind, Error as LedgerError, IssuerFacts, Ledger, PolicyFacts, SetRef, StartEntry, TokenFacts,
};
use sealwright_x509::tbs::BUILDER;

use super::ceremonies::Ceremonies;
use crate::config::GateFile;
use crate::issuers::{Issuer, Issuers};

/// The running program's own file, whatever became of its name.
const OWN_EXECUTABLE: &str = "/proc/self/exe";

/// Why a start cannot be described.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A file that is to be named by its digest cannot be read.
    #[error("cannot read {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The configuration has no canonical form.
    #[error("the configuration has no canonical form")]
    Configuration(#[source] serde_json::Error),
}

/// What does not change while the process lives.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    binary: Digest,
    configuration: Digest,
    module: Option<Digest>,
    os_user: String,
}

impl Facts {
    /// Reads and hashes. Blocks for as long as that takes.
    pub(super) fn gather(file: &GateFile) -> Result<Self, StartError> {
        let configuration = serde_json_canonicalizer::to_vec(file).map_err(StartError::Configuration)?;
        Ok(Self {
            binary: digest_of(Path::new(OWN_EXECUTABLE))?,
            configuration: Digest::of(&configuration),
            // A bare name is found by the dynamic linker, by rules of its own.
            module: digest_of(&file.gate.token.module).ok(),
            os_user: os_user(),
        })
    }

    /// The entry of a start, or of a later event that changes what the gate runs with.
    pub(super) fn entry(
        &self,
        event: &str,
        issuers: &Issuers,
        chains: &Chains,
        set: Option<SetRef>,
        ceremonies: &Ceremonies,
        token: Option<&TokenInfo>,
    ) -> StartEntry {
        let token = token.map(|info| TokenFacts {
            label: info.label.clone(),
            serial: info.serial.clone(),
        });
        StartEntry {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            binary: self.binary,
            configuration: self.configuration,
            module: self.module,
            token,
            issuers: issuers
                .iter()
                .map(|issuer| issuer_facts(issuer, chains))
                .collect(),
            os_user: self.os_user.clone(),
            pid: std::process::id(),
            details: details(event, issuers, set, ceremonies),
        }
    }
}

/// The digest of each issuer's stored chain.
pub(super) type Chains = BTreeMap<Arc<str>, Digest>;

/// Stores what entries name only by digest; each is written once, ever.
pub(super) async fn store(ledger: &Ledger, issuers: &Issuers) -> Result<Chains, LedgerError> {
    for policy in issuers.policies() {
        ledger.put_blob(BlobKind::Module, &policy.component).await?;
        ledger.put_blob(BlobKind::Settings, &policy.settings_json).await?;
    }
    let mut chains = Chains::new();
    for issuer in issuers.iter() {
        let chain = &issuer.chain;
        let mut pem = chain.intermediates_pem().concat();
        pem.push_str(chain.roots_pem());
        let digest = ledger.put_blob(BlobKind::Chain, pem.as_bytes()).await?;
        chains.insert(Arc::clone(&issuer.name), digest);
    }
    Ok(chains)
}

/// What a certificate's bytes depend on besides its record: the code that builds them, and each issuer's profile. And
/// whose ceremony made its key.
fn details(
    event: &str,
    issuers: &Issuers,
    set: Option<SetRef>,
    ceremonies: &Ceremonies,
) -> BTreeMap<String, String> {
    let mut details = ceremonies.details();
    details.insert("event".to_owned(), event.to_owned());
    details.insert("builder".to_owned(), BUILDER.to_owned());
    for issuer in issuers.iter() {
        let profile = match issuer.ceiling.common_name {
            CommonName::None => "none",
            CommonName::FirstName => "first-name",
        };
        details.insert(format!("common_name.{}", issuer.name), profile.to_owned());
    }
    if let Some(SetRef { number, approvals }) = set {
        details.insert("policy_set".to_owned(), number.to_string());
        let people = match approvals {
            0 => "none".to_owned(),
            people => people.to_string(),
        };
        details.insert("approvals".to_owned(), people);
    }
    details
}

fn issuer_facts(issuer: &Issuer, chains: &Chains) -> IssuerFacts {
    IssuerFacts {
        name: issuer.name.to_string(),
        key: issuer.chain.key_digest(),
        chain: chains.get(&issuer.name).copied(),
        policies: issuer
            .policies
            .iter()
            .map(|policy| PolicyFacts {
                name: policy.name.to_string(),
                module: policy.module,
                settings: policy.settings,
            })
            .collect(),
    }
}

/// By a library that is fast in any build: the executable has some hundred megabytes.
fn digest_of(path: &Path) -> Result<Digest, StartError> {
    let failed = |source| StartError::File {
        path: path.to_owned(),
        source,
    };
    let mut file = File::open(path).map_err(failed)?;
    let mut context = Context::new(&SHA256);
    let mut buffer = vec![0; 1 << 20];
    loop {
        let read = file.read(&mut buffer).map_err(failed)?;
        match buffer.get(..read) {
            Some(bytes) if read > 0 => context.update(bytes),
            _ => break,
        }
    }
    let mut bytes = [0; 32];
    bytes.copy_from_slice(context.finish().as_ref());
    Ok(Digest::from_bytes(bytes))
}

pub(super) fn os_user() -> String {
    let uid = rustix::process::getuid().as_raw();
    let name = std::fs::read_to_string("/etc/passwd").ok().and_then(|users| {
        users.lines().find_map(|line| {
            let mut fields = line.split(':');
            let name = fields.next()?;
            let number = fields.nth(1)?;
            (number.parse() == Ok(uid)).then(|| name.to_owned())
        })
    });
    match name {
        Some(name) => format!("{name} ({uid})"),
        None => uid.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_named_by_their_digest() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, b"abc").unwrap();
        assert_eq!(digest_of(&path).unwrap(), Digest::of(b"abc"));
        assert!(digest_of(&folder.path().join("absent")).is_err());
        assert!(os_user().contains(&rustix::process::getuid().as_raw().to_string()));
    }
}
