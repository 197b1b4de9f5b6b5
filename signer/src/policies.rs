//! `sealwright.policy.v1.PolicyService`: how policies get to where they decide.
//!
//! What it is: a door for people with roles, before the gate that judges. It passes signed statements
//! and blobs through, checks that what is to be put in force can be run here, and tells what is. What
//! it is not: what decides who agreed. A front that was taken over can lie to its callers and refuse
//! them; what takes effect is what the gate has judged, by signatures.
//!
//! The invariant: a caller has exactly the roles that `[[policy_roles]]` gives the identity of its
//! client certificate, and every call asks for one.

mod admission;
mod answers;
pub mod config;
mod door;
mod error;
mod explain;
mod judge;
mod proposals;
mod shadows;
mod upload;
pub mod words;

use std::pin::Pin;
use std::time::Duration;

use futures::{Stream, StreamExt as _, stream};
use sealwright_gate::client::GateClient;
use sealwright_identity::Digest;
use sealwright_proto::gate::{
    PolicyState, PolicyStatement, PolicyTaken, policy_fetch::What, policy_statement,
};
use sealwright_proto::policy::policy_service_server::PolicyService;
use sealwright_proto::policy::{
    ActivateRequest, ActivateResponse, ApproveRequest, ApproveResponse, DescribeRequest, DescribeResponse,
    DiffRequest, DiffResponse, ExplainRequest, ExplainResponse, GetRequest, GetResponse, ListRequest,
    ListResponse, ListShadowsRequest, ListShadowsResponse, OffsetRequest, OffsetResponse, ProposeRequest,
    ProposeResponse, PushRequest, PushResponse, ReviewRequest, ReviewResponse, RevokeRequest, RevokeResponse,
    RollbackRequest, RollbackResponse, ShadowRequest, ShadowResponse, StopShadowRequest, StopShadowResponse,
    UploadRequest, UploadResponse, WatchRequest, WatchResponse, get_response::Part,
};
use sealwright_statement::policy::{Revision, Revocation, Roster, Set};
use sealwright_statement::{Envelope, Signed, Statement};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};
use tracing::info;

pub(crate) use config::Roles;
pub use config::{PolicyRole, PolicyRoleConfig, RolesError};
pub(crate) use door::{Administrator, Door};
use error::Refusal;
pub(crate) use explain::Explainer;
pub use judge::{JudgeWanted, Judges};

use crate::front_shadows::FrontShadows;
use crate::sets::Sets;

/// What one call may take: modules are compiled in it and judged. A module of Python's size takes a minute of a processor.
const CALL: Duration = Duration::from_secs(300);
/// A component of more bytes is refused unread.
pub(crate) const MAX_BLOB_BYTES: u64 = 32 << 20;

type Answer<T> = Result<Response<T>, Status>;
type Pieces<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// The service. Clones share everything.
#[derive(Clone, Debug)]
pub struct PolicyAdministration {
    gate: GateClient,
    sets: Sets,
    judges: Option<Judges>,
    front_shadows: FrontShadows,
    explainer: Explainer,
    stop: CancellationToken,
}

impl PolicyAdministration {
    /// A service over the gate's policy sets. Without `judges` it takes the word of an author for what
    /// admission says; approvers judge for themselves.
    pub(crate) fn new(
        gate: GateClient,
        sets: Sets,
        judges: Option<Judges>,
        front_shadows: FrontShadows,
        explainer: Explainer,
    ) -> Self {
        Self {
            gate,
            sets,
            judges,
            front_shadows,
            explainer,
            stop: CancellationToken::new(),
        }
    }

    /// Ends watching when the signer stops.
    #[must_use]
    pub(crate) fn until(self, stop: CancellationToken) -> Self {
        Self { stop, ..self }
    }

    async fn state(&self) -> Result<PolicyState, Refusal> {
        Ok(self.gate.policy_state(deadline()).await?)
    }

    async fn text(&self, digest: Digest) -> Result<String, Refusal> {
        Ok(self.sets.source().armoured(digest, deadline()).await?)
    }

    async fn statement<T: Statement>(&self, digest: Digest) -> Result<Signed<T>, Refusal> {
        parse(&self.text(digest).await?)
    }

    /// Has the gate keep a statement, with the signatures that it brings.
    async fn keep(&self, armoured: String) -> Result<PolicyTaken, Refusal> {
        self.hand_over(policy_statement::Action::Keep, armoured, String::new())
            .await
    }

    /// Has the gate judge a kept statement, and let it take effect.
    async fn enact(&self, digest: &str) -> Result<PolicyTaken, Refusal> {
        self.hand_over(policy_statement::Action::Enact, String::new(), digest.to_owned())
            .await
    }

    async fn hand_over(
        &self,
        action: policy_statement::Action,
        armoured: String,
        digest: String,
    ) -> Result<PolicyTaken, Refusal> {
        let statement = PolicyStatement {
            action: action.into(),
            armoured,
            digest,
        };
        Ok(self.gate.policy_statement(statement, deadline()).await?)
    }
}

#[tonic::async_trait]
impl PolicyService for PolicyAdministration {
    type GetStream = Pieces<GetResponse>;
    type WatchStream = Pieces<WatchResponse>;

    async fn offset(&self, request: Request<OffsetRequest>) -> Answer<OffsetResponse> {
        Administrator::with(&request, PolicyRole::Author)?;
        Ok(Response::new(upload::offset(self, &request.into_inner()).await?))
    }

    async fn upload(&self, request: Request<Streaming<UploadRequest>>) -> Answer<UploadResponse> {
        let who = Administrator::with(&request, PolicyRole::Author)?;
        let uploaded = upload::upload(self, request.into_inner()).await?;
        info!(target: "audit", identity = %who, digest = uploaded.digest, bytes = uploaded.size, "a blob was uploaded");
        Ok(Response::new(uploaded))
    }

    async fn push(&self, request: Request<PushRequest>) -> Answer<PushResponse> {
        let who = Administrator::with(&request, PolicyRole::Author)?;
        let PushRequest { revision, report } = request.into_inner();
        let signed: Signed<Revision> = parse(&revision)?;
        let vetted = admission::vet(self, &signed.statement, report).await?;
        let report_digest = match &*vetted.report {
            "" => String::new(),
            report => upload::report(self, report).await?.to_string(),
        };
        let taken = self.keep(revision).await?;
        info!(target: "audit", identity = %who, revision = taken.digest, policy = %signed.statement.policy, "a revision was pushed");
        Ok(Response::new(PushResponse {
            digest: taken.digest,
            report_digest,
        }))
    }

    async fn describe(&self, request: Request<DescribeRequest>) -> Answer<DescribeResponse> {
        Administrator::with(&request, PolicyRole::Reader)?;
        let module = digest(&request.into_inner().module)?;
        let source = self.sets.source();
        let component = source
            .blob(module, MAX_BLOB_BYTES, deadline())
            .await
            .map_err(Refusal::from)?;
        Ok(Response::new(
            answers::describe(source.engine.clone(), component).await?,
        ))
    }

    async fn list(&self, request: Request<ListRequest>) -> Answer<ListResponse> {
        Administrator::with(&request, PolicyRole::Reader)?;
        Ok(Response::new(answers::list(self).await?))
    }

    async fn get(&self, request: Request<GetRequest>) -> Answer<Self::GetStream> {
        Administrator::with(&request, PolicyRole::Reader)?;
        let wanted = digest(&request.into_inner().digest)?;
        let source = self.sets.source().clone();
        let first = match source.armoured(wanted, deadline()).await {
            Ok(text) => vec![Ok(GetResponse {
                part: Some(Part::Statement(text)),
            })],
            // No statement of that name.
            Err(_unknown) => Vec::new(),
        };
        if !first.is_empty() {
            return Ok(Response::new(Box::pin(stream::iter(first))));
        }
        let pieces = source.pieces(What::Blob, wanted, CALL).map(|piece| match piece {
            Ok(data) => Ok(GetResponse {
                part: Some(Part::Data(data.to_vec())),
            }),
            Err(error) => Err(Refusal::from(error).into()),
        });
        Ok(Response::new(Box::pin(pieces)))
    }

    async fn review(&self, request: Request<ReviewRequest>) -> Answer<ReviewResponse> {
        Administrator::with(&request, PolicyRole::Reader)?;
        let review = answers::review(self, &request.into_inner().set).await?;
        Ok(Response::new(review))
    }

    async fn diff(&self, request: Request<DiffRequest>) -> Answer<DiffResponse> {
        Administrator::with(&request, PolicyRole::Reader)?;
        let DiffRequest { from, to } = request.into_inner();
        let changes = answers::diff(self, &from, &to).await?;
        Ok(Response::new(DiffResponse { changes }))
    }

    async fn propose(&self, request: Request<ProposeRequest>) -> Answer<ProposeResponse> {
        let who = Administrator::with_any(&request, &[PolicyRole::Author, PolicyRole::Approver])?;
        let armoured = request.into_inner().statement;
        let envelope = Envelope::parse(&armoured).map_err(Refusal::from)?;
        match envelope.kind() {
            Set::TYPE => {
                let set: Signed<Set> = envelope.open().map_err(Refusal::from)?;
                self.sets
                    .prepare(&set.statement, deadline())
                    .await
                    .map_err(Refusal::from)?;
            }
            Roster::TYPE => {}
            other => return Err(Refusal::Invalid(format!("a {other} is not proposed")).into()),
        }
        let taken = self.keep(armoured).await?;
        info!(target: "audit", identity = %who, statement = taken.digest, kind = taken.r#type, "a proposal came in");
        Ok(Response::new(ProposeResponse {
            digest: taken.digest,
            needed: taken.needed,
            counted: taken.counted,
            trouble: taken.trouble,
        }))
    }

    async fn approve(&self, request: Request<ApproveRequest>) -> Answer<ApproveResponse> {
        let who = Administrator::with(&request, PolicyRole::Approver)?;
        let armoured = request.into_inner().statement;
        let envelope = Envelope::parse(&armoured).map_err(Refusal::from)?;
        if envelope.signatures().is_empty() {
            return Err(Refusal::Invalid("it has no signature".to_owned()).into());
        }
        let taken = self.keep(armoured).await?;
        info!(target: "audit", identity = %who, statement = taken.digest, counted = taken.counted.len(), needed = taken.needed, "an approval came in");
        Ok(Response::new(ApproveResponse {
            needed: taken.needed,
            counted: taken.counted,
            uncounted: taken.uncounted,
            trouble: taken.trouble,
        }))
    }

    async fn activate(&self, request: Request<ActivateRequest>) -> Answer<ActivateResponse> {
        let who = Administrator::with(&request, PolicyRole::Operator)?;
        let state = self.state().await?;
        let wanted = self.proposal(&state, &request.into_inner().set).await?;
        let set: Signed<Set> = self.statement(wanted).await?;
        let taken = self.put_in_force(&set).await?;
        info!(target: "audit", identity = %who, number = set.statement.number, digest = taken.digest, "a policy set was activated");
        Ok(Response::new(ActivateResponse {
            number: set.statement.number,
            digest: taken.digest,
            counted: taken.counted,
        }))
    }

    async fn rollback(&self, request: Request<RollbackRequest>) -> Answer<RollbackResponse> {
        let who = Administrator::with(&request, PolicyRole::Operator)?;
        let armoured = request.into_inner().set;
        let set: Signed<Set> = parse(&armoured)?;
        if set.statement.restores.is_none() {
            return Err(Refusal::Invalid("it brings back no earlier set".to_owned()).into());
        }
        self.keep(armoured).await?;
        let taken = self.put_in_force(&set).await?;
        info!(target: "audit", identity = %who, number = set.statement.number, digest = taken.digest, "an earlier policy set was brought back");
        Ok(Response::new(RollbackResponse {
            number: set.statement.number,
            digest: taken.digest,
        }))
    }

    async fn revoke(&self, request: Request<RevokeRequest>) -> Answer<RevokeResponse> {
        let who = Administrator::with(&request, PolicyRole::Operator)?;
        let armoured = request.into_inner().revocation;
        let revocation: Signed<Revocation> = parse(&armoured)?;
        self.keep(armoured).await?;
        self.enact(&revocation.statement.digest().to_string()).await?;
        let revision = revocation.statement.revision;
        self.front_shadows.stop(revision);
        let revision = revision.to_string();
        info!(target: "audit", identity = %who, revision, "a revision was revoked");
        Ok(Response::new(RevokeResponse { revision }))
    }

    async fn watch(&self, request: Request<WatchRequest>) -> Answer<Self::WatchStream> {
        Administrator::with(&request, PolicyRole::Reader)?;
        let changes = self.sets.changes().from_now();
        let told = stream::unfold(changes, |mut changes| async move {
            let set = changes.next().await?;
            Some((Ok(answers::in_force(set.as_deref())), changes))
        });
        let told = told.take_until(self.stop.clone().cancelled_owned());
        Ok(Response::new(Box::pin(told)))
    }

    async fn shadow(&self, request: Request<ShadowRequest>) -> Answer<ShadowResponse> {
        let who = Administrator::with_any(&request, &shadows::ROLES)?;
        let shadow = shadows::start(self, &who, request.into_inner()).await?;
        Ok(Response::new(ShadowResponse { shadow: Some(shadow) }))
    }

    async fn stop_shadow(&self, request: Request<StopShadowRequest>) -> Answer<StopShadowResponse> {
        let who = Administrator::with_any(&request, &shadows::ROLES)?;
        let shadow = shadows::stop(self, &who, &request.into_inner().revision)?;
        Ok(Response::new(StopShadowResponse { shadow: Some(shadow) }))
    }

    async fn list_shadows(&self, request: Request<ListShadowsRequest>) -> Answer<ListShadowsResponse> {
        Administrator::with(&request, PolicyRole::Reader)?;
        Ok(Response::new(shadows::list(self)))
    }

    async fn explain(&self, request: Request<ExplainRequest>) -> Answer<ExplainResponse> {
        // Log lines of policies are among what it says: of a request that the caller made up, by modules and settings
        // that every reader can fetch and run.
        Administrator::with(&request, PolicyRole::Reader)?;
        Ok(Response::new(self.explainer.explain(request.into_inner()).await?))
    }
}

fn deadline() -> Instant {
    Instant::now() + CALL
}

fn digest(text: &str) -> Result<Digest, Refusal> {
    text.parse()
        .map_err(|error: sealwright_identity::DigestError| Refusal::Invalid(error.to_string()))
}

fn parse<T: Statement>(armoured: &str) -> Result<Signed<T>, Refusal> {
    Ok(Envelope::parse(armoured)?.open()?)
}
