//! From digests at the gate to a set that can decide.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::{Stream, stream};
use sealwright_gate::client::{ClientError, GateClient};
use sealwright_identity::{Digest, DigestError};
use sealwright_policy_wasm::{Engine, Limits, LoadError, Policy, PolicySource};
use sealwright_proto::gate::{PolicyFetch, PolicyFetched, PolicyState, policy_fetch::What};
use sealwright_statement::policy::{Name, Revision, Revisions, Set};
use sealwright_statement::{Envelope, EnvelopeError, MAX_ARMOUR_BYTES, Sealed, Statement};
use tokio::time::Instant;

use super::ActiveSet;

/// A component of another size is none.
const MAX_MODULE_BYTES: u64 = 32 << 20;

/// Why a set cannot be run.
#[derive(Debug, thiserror::Error)]
pub enum SetError {
    /// The gate did not answer, or has not what it named.
    #[error("the gate does not give {what}")]
    Gate {
        /// What was asked for.
        what: String,
        /// Why not.
        #[source]
        source: ClientError,
    },
    /// A name that is no digest.
    #[error("the gate names {what} by something that is no digest")]
    Name {
        /// What.
        what: &'static str,
        /// What it is.
        #[source]
        source: DigestError,
    },
    /// Other bytes than those that were named.
    #[error("what the gate gives for {wanted} is {found}")]
    Digest {
        /// As it was named.
        wanted: Digest,
        /// Of what was given.
        found: Digest,
    },
    /// More or fewer bytes than were announced.
    #[error("what the gate gives for {wanted} does not have the size that it says")]
    Size {
        /// As it was named.
        wanted: Digest,
    },
    /// No statement of that type.
    #[error("what the gate gives for {wanted} is no statement of its type")]
    Statement {
        /// As it was named.
        wanted: Digest,
        /// What is wrong.
        #[source]
        source: EnvelopeError,
    },
    /// A policy that cannot be run.
    #[error("revision {revision} of policy {policy} cannot be run")]
    Policy {
        /// The revision's digest.
        revision: Digest,
        /// The policy's name.
        policy: Name,
        /// What is wrong with it.
        #[source]
        source: Box<LoadError>,
    },
    /// Compiling ended without a word.
    #[error("compiling was cut off")]
    Interrupted,
}

/// Reads statements and modules from the gate.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    pub(crate) gate: GateClient,
    pub(crate) engine: Engine,
}

/// Revisions whose code is there.
#[derive(Debug, Default)]
pub(crate) struct Ready {
    pub(crate) revisions: Revisions,
    pub(crate) policies: BTreeMap<Digest, Arc<Policy>>,
}

impl Source {
    /// The set of that state, compiled; what `before` and `prepared` have already is taken from there.
    pub(crate) async fn load(
        &self,
        state: &PolicyState,
        before: Option<&ActiveSet>,
        prepared: &Ready,
        deadline: Instant,
    ) -> Result<ActiveSet, SetError> {
        let digest = digest("the set in force", &state.set)?;
        let set: Sealed<Set> = match before.filter(|before| before.digest() == digest) {
            Some(before) => before.set.clone(),
            None => self.statement(digest, deadline).await?,
        };
        let ready = self.ready(&set, before, prepared, deadline).await?;
        Ok(ActiveSet::new(
            set,
            stopped(state)?,
            ready.revisions,
            ready.policies,
        ))
    }

    /// Every revision of a set, compiled.
    pub(crate) async fn ready(
        &self,
        set: &Set,
        before: Option<&ActiveSet>,
        prepared: &Ready,
        deadline: Instant,
    ) -> Result<Ready, SetError> {
        let mut ready = Ready::default();
        for entry in &set.entries {
            let digest = entry.revision;
            let known = [
                before.map(|before| (&before.revisions, &before.policies)),
                Some((&prepared.revisions, &prepared.policies)),
            ];
            let known = known.into_iter().flatten().find_map(|(revisions, policies)| {
                Some((
                    revisions.get(&digest)?.clone(),
                    Arc::clone(policies.get(&digest)?),
                ))
            });
            let (revision, policy) = match known {
                Some(known) => known,
                None => {
                    let revision = self.statement(digest, deadline).await?;
                    let policy = self.compile(&revision, deadline).await?;
                    (revision, policy)
                }
            };
            ready.revisions.insert(digest, revision);
            ready.policies.insert(digest, policy);
        }
        Ok(ready)
    }

    /// The code of one revision.
    pub(crate) async fn compile(
        &self,
        revision: &Sealed<Revision>,
        deadline: Instant,
    ) -> Result<Arc<Policy>, SetError> {
        let component = self.blob(revision.module, MAX_MODULE_BYTES, deadline).await?;
        self.compile_bytes(revision, component).await
    }

    /// The same from its component, whose digest was compared.
    pub(crate) async fn compile_bytes(
        &self,
        revision: &Sealed<Revision>,
        component: Vec<u8>,
    ) -> Result<Arc<Policy>, SetError> {
        let (engine, revision) = (self.engine.clone(), revision.clone());
        // Some tens of milliseconds, seconds for the runtimes of other languages: not on an async worker.
        let compiled = tokio::task::spawn_blocking(move || compile(&engine, &revision, component));
        compiled
            .await
            .map_err(|_cut_off| SetError::Interrupted)?
            .map(Arc::new)
    }

    /// A statement of type `T` by its digest.
    pub(crate) async fn statement<T: Statement>(
        &self,
        wanted: Digest,
        deadline: Instant,
    ) -> Result<Sealed<T>, SetError> {
        let text = self.armoured(wanted, deadline).await?;
        let signed = Envelope::parse(&text)
            .and_then(Envelope::open::<T>)
            .map_err(|source| SetError::Statement { wanted, source })?;
        let found = signed.statement.digest();
        if found != wanted {
            return Err(SetError::Digest { wanted, found });
        }
        Ok(signed.statement)
    }

    /// The armoured file of a statement.
    pub(crate) async fn armoured(&self, wanted: Digest, deadline: Instant) -> Result<String, SetError> {
        let most = u64::try_from(MAX_ARMOUR_BYTES).unwrap_or(u64::MAX);
        let bytes = self.fetch(What::Statement, wanted, most, deadline).await?;
        // What is no text is no statement either, and is told so.
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// A blob by its digest.
    pub(crate) async fn blob(
        &self,
        wanted: Digest,
        most: u64,
        deadline: Instant,
    ) -> Result<Vec<u8>, SetError> {
        let bytes = self.fetch(What::Blob, wanted, most, deadline).await?;
        let found = Digest::of(&bytes);
        if found != wanted {
            return Err(SetError::Digest { wanted, found });
        }
        Ok(bytes)
    }

    /// The same in pieces as they come; whoever takes them compares the digest.
    pub(crate) fn pieces(
        &self,
        what: What,
        wanted: Digest,
        limit: Duration,
    ) -> impl Stream<Item = Result<Bytes, SetError>> + use<> {
        let source = self.clone();
        let deadline = Instant::now() + limit;
        stream::try_unfold(Some(0), move |offset: Option<u64>| {
            let source = source.clone();
            async move {
                let Some(offset) = offset else { return Ok(None) };
                let piece = source.piece(what, wanted, offset, deadline).await?;
                let received = offset + u64::try_from(piece.data.len()).unwrap_or(u64::MAX);
                let rest = (!piece.data.is_empty() && received < piece.size).then_some(received);
                Ok(Some((piece.data, rest)))
            }
        })
    }

    async fn piece(
        &self,
        what: What,
        wanted: Digest,
        offset: u64,
        deadline: Instant,
    ) -> Result<PolicyFetched, SetError> {
        let fetch = PolicyFetch {
            what: what.into(),
            digest: wanted.to_string(),
            offset,
        };
        let piece = self.gate.policy_fetch(fetch, deadline).await;
        piece.map_err(|source| SetError::Gate {
            what: wanted.to_string(),
            source,
        })
    }

    async fn fetch(
        &self,
        what: What,
        wanted: Digest,
        most: u64,
        deadline: Instant,
    ) -> Result<Vec<u8>, SetError> {
        let mut bytes = Vec::new();
        loop {
            let offset = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
            let piece = self.piece(what, wanted, offset, deadline).await?;
            bytes.extend_from_slice(&piece.data);
            let received = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
            if piece.size > most || received > piece.size || (piece.data.is_empty() && received < piece.size)
            {
                return Err(SetError::Size { wanted });
            }
            if received == piece.size {
                return Ok(bytes);
            }
        }
    }
}

fn compile(engine: &Engine, revision: &Sealed<Revision>, component: Vec<u8>) -> Result<Policy, SetError> {
    let refused = |source| SetError::Policy {
        revision: revision.digest(),
        policy: revision.policy.clone(),
        source: Box::new(source),
    };
    let settings = sealwright_policy_wasm::parse_settings(&revision.settings)
        .map_err(|source| refused(LoadError::Settings(source)))?;
    let source = PolicySource {
        name: revision.policy.to_string(),
        component,
        settings,
        limits: limits(revision),
    };
    Policy::load(engine, source).map_err(refused)
}

/// What a revision may take, where it is run: 0 bytes are the host's default.
#[must_use]
pub fn limits(revision: &Revision) -> Limits {
    let defaults = Limits::default();
    Limits {
        fuel: revision.limits.fuel,
        memory_bytes: match revision.limits.memory {
            0 => defaults.memory_bytes,
            bytes => bytes,
        },
        ..defaults
    }
}

/// The canaries that the gate stopped.
pub(super) fn stopped(state: &PolicyState) -> Result<BTreeSet<Digest>, SetError> {
    let stopped = state.canaries.iter().filter(|canary| canary.stopped_micros != 0);
    stopped
        .map(|canary| digest("a canary that was stopped", &canary.revision))
        .collect()
}

pub(crate) fn digest(what: &'static str, text: &str) -> Result<Digest, SetError> {
    text.parse().map_err(|source| SetError::Name { what, source })
}
