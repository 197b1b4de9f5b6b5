//! `sealwright.v1.SigningService`: many requests over one call, each its own decision and record.
//!
//! The credentials are in the headers of the call and were judged by the admission layer before a
//! message was read; `credential` sees to it that the call does not outlive them. Each message
//! then takes the same steps as `CreateCertificate`, and is answered by itself: a refusal is an
//! answer. Only what concerns the call as a whole ends it.

mod conversation;
mod credential;
mod inbox;
mod outbox;

use std::sync::Arc;
use std::time::Duration;

use prost::Message as _;
use sealwright_identity::SharedClock;
use sealwright_proto::rpc;
use sealwright_proto::signing::sign_response::Outcome;
use sealwright_proto::signing::signing_service_server::SigningService as SigningRpc;
use sealwright_proto::signing::{Certificate, SignRequest};
use tokio::time::timeout_at;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Request, Response, Status, Streaming};
use tracing::{Instrument, Span};

pub(super) use self::inbox::Inbox;

use self::conversation::Conversation;
use self::credential::Credential;
use self::outbox::{Answers, Outbox};
use super::context::Admitted;
use super::status::{RequestError, code_name};
use super::{Opened, RequestContext, Steps};
use crate::authn::Caller;
use crate::config::SigningConfig;
use crate::metrics::Stage;

/// Answers calls with many requests. Clones share everything.
#[derive(Clone, Debug)]
pub struct SigningService {
    steps: Arc<Steps>,
    limits: Limits,
    clock: SharedClock,
    stop: CancellationToken,
}

/// What bounds one call.
#[derive(Clone, Copy, Debug)]
struct Limits {
    in_flight: usize,
    idle: Duration,
    duration: Duration,
    /// For one request; and for an answer to be taken, and a message to be whole.
    request: Duration,
}

impl SigningService {
    pub(super) fn new(
        steps: Arc<Steps>,
        config: &SigningConfig,
        request: Duration,
        clock: SharedClock,
    ) -> Self {
        Self {
            steps,
            limits: Limits {
                in_flight: config.max_in_flight,
                idle: config.idle_timeout.get(),
                duration: config.max_duration.get(),
                request,
            },
            clock,
            stop: CancellationToken::new(),
        }
    }

    /// No request is read any more once `stop` is cancelled; those that were are answered.
    #[must_use]
    pub fn until(self, stop: CancellationToken) -> Self {
        Self { stop, ..self }
    }

    fn open(&self, request: Request<Streaming<SignRequest>>) -> Result<Answers, Status> {
        let opened = request.extensions().get::<Arc<Opened>>().cloned();
        // Mounted without the layer it answers nobody.
        let opened = opened.ok_or_else(|| Status::unauthenticated(super::UNAUTHENTICATED))?;
        let (metadata, _extensions, requests) = request.into_parts();
        let credential = Credential::new(&opened, metadata.into_headers(), Arc::clone(&self.clock));
        let (outbox, answers) = Outbox::new();
        let conversation = Conversation::new(self, opened, credential, requests, outbox);
        tokio::spawn(conversation.run().instrument(Span::current()));
        Ok(answers)
    }
}

impl Steps {
    /// One request of a call, on the way of every other, with its own time.
    async fn sign(
        &self,
        message: SignRequest,
        opened: &Opened,
        caller: Arc<Caller>,
        context: RequestContext,
    ) -> Outcome {
        let RequestContext {
            id, method, deadline, ..
        } = context.clone();
        let _total = self.metrics.time(Stage::Total);
        self.metrics.csr_received();
        let work = async {
            let _place = opened.turn(&caller, &context).await?;
            let mut request = Request::new(message);
            request.extensions_mut().insert(Admitted::new(caller, context));
            self.issue(request).await
        };
        let outcome = timeout_at(deadline, work)
            .await
            .unwrap_or(Err(RequestError::DeadlineExceeded));
        let answer: Result<Response<Certificate>, Status> = self.finish(Some(id), outcome);
        let code = answer.as_ref().map_or_else(Status::code, |_| Code::Ok);
        self.metrics.answered(method, code_name(code));
        match answer {
            Ok(response) => Outcome::Certificate(response.into_inner()),
            Err(status) => Outcome::Error(error(&status)),
        }
    }
}

/// The status as a message. Where it has details, they are such a message already.
fn error(status: &Status) -> rpc::Status {
    let bare = rpc::Status {
        code: status.code().into(),
        message: status.message().to_owned(),
        details: Vec::new(),
    };
    match status.details() {
        [] => bare,
        details => rpc::Status::decode(details).unwrap_or(bare),
    }
}

#[tonic::async_trait]
impl SigningRpc for SigningService {
    type SignStream = Answers;

    async fn sign(&self, request: Request<Streaming<SignRequest>>) -> Result<Response<Answers>, Status> {
        self.open(request).map(Response::new)
    }
}
