//! What may be asked of the policy sets: uploads, statements, what stands, and reads.

mod statements;

use std::sync::Arc;

use sealwright_identity::Digest;
use sealwright_ledger::{BlobKind, Error as LedgerError};
use sealwright_proto::gate::{
    PolicyActivation, PolicyCanary, PolicyFetch, PolicyFetched, PolicyStaged, PolicyState, PolicyUpload,
    PolicyUploaded, policy_fetch, policy_upload,
};
use sealwright_runtime::Chain;
use sealwright_statement::Envelope;
use sealwright_statement::policy::QuorumError;

use super::Policies;
use super::error::PoliciesError;
use super::history::{Activated, History};
use super::staging::{Kind, Staging, StagingError};
use crate::server::refused::Refused;

/// The most bytes of one piece, up or down.
const MAX_PIECE: usize = 512 * 1024;

/// Sets that a state lists.
const MAX_HISTORY: usize = 64;

/// Why a request about policies came to nothing.
#[derive(Debug)]
pub(in crate::server) enum RequestError {
    /// What was asked.
    Refused(Refused),
    /// The ledger.
    Ledger(LedgerError),
}

impl From<Refused> for RequestError {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}

impl From<StagingError> for RequestError {
    fn from(error: StagingError) -> Self {
        Self::Refused(match &error {
            StagingError::File(_) => Refused::Unavailable(Chain(&error).to_string()),
            StagingError::Full { .. } => Refused::busy(&error.to_string()),
            _ => Refused::Invalid(error.to_string()),
        })
    }
}

impl From<QuorumError> for RequestError {
    fn from(error: QuorumError) -> Self {
        Self::Refused(Refused::Denied(Chain(&error).to_string()))
    }
}

impl From<PoliciesError> for RequestError {
    fn from(error: PoliciesError) -> Self {
        match error {
            PoliciesError::Write(error) => Self::Ledger(error),
            error => Self::Refused(Refused::Unavailable(Chain(&error).to_string())),
        }
    }
}

impl From<LedgerError> for RequestError {
    fn from(error: LedgerError) -> Self {
        Self::Ledger(error)
    }
}

impl Policies {
    /// Takes a piece of a component, source archive or report.
    pub(in crate::server) async fn upload(
        &self,
        request: PolicyUpload,
    ) -> Result<PolicyUploaded, RequestError> {
        let kind = match request.kind() {
            policy_upload::Kind::Module => Kind::Module,
            policy_upload::Kind::Source => Kind::Source,
            policy_upload::Kind::Report => Kind::Report,
            policy_upload::Kind::Unspecified => return Err(invalid("an upload of no kind").into()),
        };
        let digest = digest(&request.digest)?;
        if request.data.len() > MAX_PIECE {
            return Err(invalid("a piece of more than 512 KiB").into());
        }
        if request.offset == 0 && self.in_ledger(kind.blob(), &digest).await? {
            return Ok(PolicyUploaded {
                received: request.size,
                complete: true,
            });
        }
        // One upload at a time: bounds are kept, and pieces of one file do not mix.
        let _turn = self.history.lock().await;
        let (size, offset, data) = (request.size, request.offset, request.data);
        let (received, complete) = self
            .blocking(move |staging| staging.append(kind, digest, size, offset, &data))
            .await?;
        Ok(PolicyUploaded { received, complete })
    }

    /// What stands and what waits.
    pub(in crate::server) async fn state(&self) -> Result<PolicyState, RequestError> {
        let history = self.history.lock().await;
        let staged = self.blocking(|staging| staging.list()).await?;
        let mut waiting = Vec::with_capacity(staged.len());
        for file in staged {
            let mut row = PolicyStaged {
                r#type: file.kind.word().to_owned(),
                digest: file.digest.to_string(),
                size: file.size,
                people: Vec::new(),
            };
            if file.kind == Kind::Statement {
                let Some(envelope) = self.kept(&file.digest).await? else {
                    continue;
                };
                envelope.kind().clone_into(&mut row.r#type);
                row.people = people(&envelope, &history);
            }
            waiting.push(row);
        }
        let active = history.active();
        let digests =
            |digests: &mut dyn Iterator<Item = Digest>| digests.map(|one| one.to_string()).collect();
        let mut recent: Vec<_> = history.sets().rev().take(MAX_HISTORY).map(activation).collect();
        recent.reverse();
        Ok(PolicyState {
            number: history.number(),
            deployment: self.deployment.to_string(),
            rehearsal: history.roster().threshold == 0,
            seeded: active.is_some_and(|active| active.seeded),
            set: active.map_or_else(String::new, |active| active.set.digest().to_string()),
            roster: history.roster().digest().to_string(),
            revisions: active.map_or_else(Vec::new, |active| {
                digests(&mut active.set.entries.iter().map(|entry| entry.revision))
            }),
            revoked: digests(&mut history.revoked().iter().copied()),
            approvals: active.map_or(0, |active| active.approvals),
            history: recent,
            staged: waiting,
            canaries: active.map_or_else(Vec::new, canaries),
        })
    }

    /// Reads a piece of a statement or a blob.
    pub(in crate::server) async fn fetch(
        &self,
        request: &PolicyFetch,
    ) -> Result<PolicyFetched, RequestError> {
        let digest = digest(&request.digest)?;
        let offset = request.offset;
        let whole = match request.what() {
            policy_fetch::What::Statement => self.statement_file(&digest).await?,
            policy_fetch::What::Blob => {
                let length = u64::try_from(MAX_PIECE).unwrap_or(u64::MAX);
                let staged = self
                    .blocking(move |staging| staging.piece(&digest, offset, length))
                    .await?;
                if let Some((size, data)) = staged {
                    let data = data.into();
                    return Ok(PolicyFetched { size, data });
                }
                self.blob(&digest).await?
            }
            policy_fetch::What::Unspecified => return Err(invalid("neither a statement nor a blob").into()),
        };
        let whole = whole.ok_or_else(|| Refused::Invalid(format!("{digest} is not there")))?;
        let rest = usize::try_from(offset)
            .ok()
            .and_then(|offset| whole.get(offset..));
        let rest = rest.ok_or_else(|| invalid("the offset is beyond the end"))?;
        let piece = rest.get(..MAX_PIECE).unwrap_or(rest);
        Ok(PolicyFetched {
            size: u64::try_from(whole.len()).unwrap_or(u64::MAX),
            data: piece.to_vec().into(),
        })
    }

    async fn statement_file(&self, digest: &Digest) -> Result<Option<Arc<[u8]>>, RequestError> {
        let in_ledger = self.history.lock().await.blob_of(digest);
        if let Some(blob) = in_ledger {
            return self.blob(&blob).await;
        }
        let digest = *digest;
        let file = self
            .blocking(move |staging| staging.read(Kind::Statement, &digest))
            .await?;
        Ok(file.map(Arc::from))
    }

    /// A blob of the ledger of the kinds that policies consist of.
    async fn blob(&self, digest: &Digest) -> Result<Option<Arc<[u8]>>, RequestError> {
        if let Some((last, bytes)) = &*self.fetched.lock()
            && last == digest
        {
            return Ok(Some(Arc::clone(bytes)));
        }
        let found = self.ledger.reader().blob(digest).await;
        let found = found.map_err(|error| Refused::Unavailable(Chain(&error).to_string()))?;
        let Some(found) = found.filter(|blob| is_public(blob.kind)) else {
            return Ok(None);
        };
        let bytes: Arc<[u8]> = found.bytes.into();
        *self.fetched.lock() = Some((*digest, Arc::clone(&bytes)));
        Ok(Some(bytes))
    }

    async fn in_ledger(&self, kind: BlobKind, digest: &Digest) -> Result<bool, RequestError> {
        let facts = self.ledger.reader().blob_facts(digest).await;
        let facts = facts.map_err(|error| Refused::Unavailable(Chain(&error).to_string()))?;
        Ok(facts.is_some_and(|(found, _size)| found == kind))
    }

    /// A statement that waits.
    async fn kept(&self, digest: &Digest) -> Result<Option<Envelope>, RequestError> {
        let digest = *digest;
        let file = self
            .blocking(move |staging| staging.read(Kind::Statement, &digest))
            .await?;
        // What was damaged on the disk is not there.
        let envelope = file
            .and_then(|bytes| String::from_utf8(bytes).ok())
            .and_then(|text| Envelope::parse(&text).ok());
        Ok(envelope.filter(|envelope| envelope.digest() == digest))
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Staging) -> Result<T, StagingError> + Send + 'static,
    ) -> Result<T, RequestError> {
        let staging = self.staging.clone();
        let done = tokio::task::spawn_blocking(move || work(&staging)).await;
        let done = done.map_err(|error| Refused::Internal(error.to_string()))?;
        Ok(done?)
    }
}

fn activation(set: &Activated) -> PolicyActivation {
    PolicyActivation {
        number: set.set.number,
        set: set.set.digest().to_string(),
        activated_micros: set.at.micros(),
        approvals: set.approvals,
        seeded: set.seeded,
    }
}

fn canaries(active: &Activated) -> Vec<PolicyCanary> {
    let counters = active.counters.iter().flat_map(|counters| counters.all());
    let canaries = counters.map(|(revision, counts)| PolicyCanary {
        revision: revision.to_string(),
        decisions: counts.decisions,
        denied: counts.denied,
        aborted: counts.aborted,
        stopped_micros: active.stops.get(&revision).map_or(0, |at| at.micros()),
    });
    canaries.collect()
}

/// Whose keys signed, by the roster in force. For people to read: nothing is decided by it.
fn people(envelope: &Envelope, history: &History) -> Vec<String> {
    let owners = envelope.signatures().iter().map(|signature| {
        let owner = history.roster().owner(&signature.key);
        owner.map_or_else(
            || format!("unknown key {}", signature.key.id()),
            |person| person.name.to_string(),
        )
    });
    owners.collect()
}

fn digest(text: &str) -> Result<Digest, Refused> {
    text.parse()
        .map_err(|error: sealwright_identity::DigestError| Refused::Invalid(error.to_string()))
}

fn invalid(text: &str) -> Refused {
    Refused::Invalid(text.to_owned())
}

/// Kinds of blobs that policies consist of.
const fn is_public(kind: BlobKind) -> bool {
    match kind {
        BlobKind::Module | BlobKind::Settings | BlobKind::Statement | BlobKind::Source | BlobKind::Report => {
            true
        }
        BlobKind::EngineProfile | BlobKind::Chain | BlobKind::Other | BlobKind::Transcript => false,
    }
}
