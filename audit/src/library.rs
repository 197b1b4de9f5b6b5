//! What the records of an export name: modules, settings, chains of issuers. Kept by their place in the file, and read,
//! compiled and verified when first needed.

use std::{collections::HashMap, fs::File, io::BufReader, path::Path, sync::Arc};

use parking_lot::{Mutex, RwLock};
use sealwright_identity::{Digest, Timestamp};
use sealwright_ledger::{BlobKind, BlobPlace, StartEntry};
use sealwright_policy_wasm::{Engine, Limits, Policy, PolicySource, parse_settings};
use sealwright_runtime::Chain;
use sealwright_x509::{CertificateRef, ChainError, IssuerChain, pem};

use crate::problem::{Problem, shown};

/// Policies that are ready at one time; more than any deployment has.
const MAX_POLICIES: usize = 512;
/// Issuers that are ready at one time.
const MAX_ISSUERS: usize = 512;

/// The certificates that the caller trusts.
#[derive(Clone, Debug)]
pub struct Anchors(Vec<Vec<u8>>);

/// Why a file holds no trust anchors.
#[derive(Debug, thiserror::Error)]
#[error("not a PEM file of CA certificates: {0}")]
pub struct AnchorsError(String);

impl Anchors {
    /// From PEM, one certificate or more.
    ///
    /// # Errors
    /// When it is not that.
    pub fn from_pem(text: &[u8]) -> Result<Self, AnchorsError> {
        let ders = pem::decode_all(pem::CERTIFICATE, text)
            .map_err(|error| AnchorsError(Chain(&error).to_string()))?;
        for der in &ders {
            let certificate =
                CertificateRef::parse(der).map_err(|error| AnchorsError(Chain(&error).to_string()))?;
            if !certificate.basic_constraints().is_ok_and(|(is_ca, _)| is_ca) {
                return Err(AnchorsError("a certificate in it is not a CA's".to_owned()));
            }
        }
        if ders.is_empty() {
            return Err(AnchorsError("there is no certificate in it".to_owned()));
        }
        Ok(Self(ders))
    }
}

/// A policy by all that its decisions depend on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct PolicyKey {
    name: String,
    module: Digest,
    settings: Digest,
    /// Fuel, memory, table elements, hostcall bytes, log lines, log bytes.
    limits: [u64; 6],
}

type Loaded<T> = Arc<Result<T, Problem>>;

/// Shared by all threads of a replay.
pub(crate) struct Library {
    file: Mutex<BufReader<File>>,
    blobs: RwLock<HashMap<Digest, (BlobKind, BlobPlace)>>,
    engine: Engine,
    policies: RwLock<HashMap<PolicyKey, Loaded<Policy>>>,
    /// One at a time compiles: the others would compile the same.
    loading: Mutex<()>,
    anchors: Anchors,
    issuers: RwLock<HashMap<(Digest, Digest), Loaded<IssuerChain>>>,
}

impl Library {
    pub(crate) fn new(path: &Path, engine: Engine, anchors: Anchors) -> std::io::Result<Self> {
        Ok(Self {
            file: Mutex::new(BufReader::new(File::open(path)?)),
            blobs: RwLock::default(),
            engine,
            policies: RwLock::default(),
            loading: Mutex::default(),
            anchors,
            issuers: RwLock::default(),
        })
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }

    pub(crate) fn put(&self, kind: BlobKind, place: BlobPlace) {
        self.blobs.write().insert(place.digest, (kind, place));
    }

    pub(crate) fn has(&self, kind: BlobKind, digest: &Digest) -> bool {
        self.blobs
            .read()
            .get(digest)
            .is_some_and(|(found, _)| *found == kind)
    }

    /// The policy with this code, these settings and these limits.
    pub(crate) fn policy(
        &self,
        name: &str,
        module: Digest,
        settings: Digest,
        limits: Limits,
    ) -> Loaded<Policy> {
        let key = PolicyKey {
            name: name.to_owned(),
            module,
            settings,
            limits: [
                limits.fuel,
                limits.memory_bytes,
                limits.table_elements,
                limits.hostcall_bytes,
                u64::from(limits.log_lines),
                u64::from(limits.log_bytes),
            ],
        };
        if let Some(loaded) = self.policies.read().get(&key) {
            return Arc::clone(loaded);
        }
        let _turn = self.loading.lock();
        if let Some(loaded) = self.policies.read().get(&key) {
            return Arc::clone(loaded);
        }
        let loaded = Arc::new(self.load(name, module, settings, limits));
        let mut policies = self.policies.write();
        if policies.len() >= MAX_POLICIES {
            policies.clear();
        }
        policies.insert(key, Arc::clone(&loaded));
        loaded
    }

    fn load(&self, name: &str, module: Digest, settings: Digest, limits: Limits) -> Result<Policy, Problem> {
        let unusable = |reason: String| Problem::Policy {
            policy: shown(name),
            reason: shown(&reason),
        };
        let component = self.bytes(BlobKind::Module, "module", module)?;
        let text = self.bytes(BlobKind::Settings, "settings", settings)?;
        let text = String::from_utf8(text).map_err(|error| unusable(error.to_string()))?;
        let parsed = parse_settings(&text).map_err(|error| unusable(Chain(&error).to_string()))?;
        let source = PolicySource {
            name: name.to_owned(),
            component,
            settings: parsed,
            limits,
        };
        let policy =
            Policy::load(&self.engine, source).map_err(|error| unusable(Chain(&error).to_string()))?;
        if policy.settings() != settings {
            return Err(unusable("its settings are not canonical".to_owned()));
        }
        Ok(policy)
    }

    /// The issuer that a record names, whose chain the start in force names, up to a trust anchor.
    pub(crate) fn issuer(
        &self,
        name: &str,
        key: Digest,
        start: Option<&StartEntry>,
        at: Timestamp,
    ) -> Result<Loaded<IssuerChain>, Problem> {
        let facts = start.and_then(|start| start.issuers.iter().find(|issuer| issuer.name == name));
        let Some(facts) = facts else {
            return Err(Problem::Issuer(format!(
                "no start names the issuer {}",
                shown(name)
            )));
        };
        if facts.key != key {
            return Err(Problem::Issuer(format!(
                "the record names the key {key}, and the start {}",
                facts.key
            )));
        }
        let chain = facts
            .chain
            .ok_or_else(|| Problem::Issuer("the start names no chain".to_owned()))?;
        if let Some(known) = self.issuers.read().get(&(chain, key)) {
            return Ok(Arc::clone(known));
        }
        let loaded = self
            .bytes(BlobKind::Chain, "chain", chain)
            .and_then(|text| chain_to_anchor(&text, key, &self.anchors, at));
        let loaded = match loaded {
            Ok(loaded) => Ok(loaded),
            Err(Unanchored::Now(problem)) => return Err(problem),
            Err(Unanchored::Ever(problem)) => Err(problem),
        };
        let loaded = Arc::new(loaded);
        let mut issuers = self.issuers.write();
        if issuers.len() >= MAX_ISSUERS {
            issuers.clear();
        }
        issuers.insert((chain, key), Arc::clone(&loaded));
        Ok(loaded)
    }

    /// The bytes of a blob of this kind.
    pub(crate) fn bytes<E: From<Problem>>(
        &self,
        kind: BlobKind,
        what: &'static str,
        digest: Digest,
    ) -> Result<Vec<u8>, E> {
        let absent = || Problem::Absent {
            what,
            digest: digest.to_string(),
        };
        let (found, place) = self.blobs.read().get(&digest).copied().ok_or_else(absent)?;
        if found != kind {
            return Err(absent().into());
        }
        let mut file = self.file.lock();
        place.read(&mut *file).map_err(|_| absent().into())
    }
}

/// Why there is no chain to an anchor.
enum Unanchored {
    /// Not at this time; perhaps at another.
    Now(Problem),
    Ever(Problem),
}

impl From<Problem> for Unanchored {
    fn from(problem: Problem) -> Self {
        Self::Ever(problem)
    }
}

fn chain_to_anchor(
    text: &[u8],
    key: Digest,
    anchors: &Anchors,
    at: Timestamp,
) -> Result<IssuerChain, Unanchored> {
    let issuer =
        |error: &(dyn std::error::Error + 'static)| Problem::Issuer(shown(&Chain(error).to_string()));
    let ders = pem::decode_all(pem::CERTIFICATE, text).map_err(|error| issuer(&error))?;
    let mut chain = Vec::new();
    for der in ders {
        let certificate = CertificateRef::parse(&der).map_err(|error| issuer(&error))?;
        let is_issuing = certificate.spki().is_ok_and(|spki| spki.digest() == key);
        if chain.is_empty() && !is_issuing {
            continue;
        }
        let is_root = certificate.is_self_issued();
        // A root ends the chain; it is in it only when it issues itself.
        if chain.is_empty() || !is_root {
            chain.push(der);
        }
        if is_root {
            break;
        }
    }
    if chain.is_empty() {
        return Err(Problem::Issuer(format!("its chain has no certificate of the key {key}")).into());
    }
    IssuerChain::from_ders(chain, anchors.0.clone(), at).map_err(|error| match error {
        ChainError::NotValid { .. } => Unanchored::Now(issuer(&error)),
        other => Unanchored::Ever(issuer(&other)),
    })
}
