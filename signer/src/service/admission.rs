//! What happens to a request before tonic's generated server sees it.
//!
//! In this order, each step cheaper than the next would be to undo: a look at the queue, a place in
//! the budget of buffered bytes, the credentials in the headers, the identity's rate, the five octets
//! that head the message, its bytes, and its turn among those in work. What it holds in memory is
//! its own until its answer has been sent. A stranger's body is never read, and a message that is too large is refused by what its
//! header says. (tonic's own decoder would call that OUT_OF_RANGE, after authentication by none.)
//!
//! Until the credentials were good, whatever goes wrong is a stranger's doing: it is counted, and
//! only samples of it are logged. So it is with what is refused because it is too much.

mod message;

use std::convert::Infallible;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::BoxFuture;
use http::request::Parts;
use http::{HeaderMap, Request, Response};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};
use tonic::Code;
use tonic::body::Body;
use tonic::server::NamedService;
use tower::Service;
use tracing::{Instrument, Span, field, info, info_span};

pub(super) use self::message::Sizes;

use super::budget::{BASE_CHARGE, Budget, Charge};
use super::context::{Admitted, RequestContext, RequestId};
use super::held::Held;
use super::rate::IdentityRate;
use super::sampler::Sampler;
use super::signing::Inbox;
use super::status::{RequestError, chain, code_name};
use super::turnstile::{Full, Lane, Place, Turnstile, TurnstileLimits};
use crate::acceptor::{ConnectedPeer, Standing};
use crate::authn::{Authenticators, Caller, Peer};
use crate::metrics::{Metrics, Stage};

/// Refusals of strangers in the log, per second.
const LOGGED_REFUSALS_PER_SECOND: u32 = 10;
/// Longer values of `clusterid` are not repeated to policies.
const MAX_CLUSTER_BYTES: usize = 256;
/// The part of the buffered bytes that strangers may hold, beside those of the known.
const STRANGERS_SHARE: usize = 4;
/// What an order may need beside its CSR: metadata, whose JSON is far shorter than its message.
const ORDER_BYTES: usize = 128 << 10;
const CREATE_CERTIFICATE: &str = "istio.v1.auth.IstioCertificateService/CreateCertificate";
const HANDLE_CSR: &str = "istio.v1.auth.IstioCAService/HandleCSR";
const SIGN: &str = "sealwright.v1.SigningService/Sign";

/// What bounds requests.
#[derive(Clone, Copy, Debug)]
pub struct AdmissionLimits {
    /// One message, in bytes.
    pub message_bytes: usize,
    /// The CSR in it, in bytes.
    pub csr_bytes: usize,
    /// All messages together, in bytes.
    pub buffered_bytes: usize,
    /// Requests in work.
    pub in_work: usize,
    /// From the headers to the answer.
    pub request_timeout: Duration,
}

impl AdmissionLimits {
    /// The queue takes at most half of the bytes, so that there are some for messages, and at most
    /// half of a request's time, so that there is some for its work.
    fn turnstile(&self) -> TurnstileLimits {
        TurnstileLimits {
            places: self.in_work,
            room: (self.buffered_bytes / BASE_CHARGE / 2).max(1),
            patience: self.request_timeout / 2,
        }
    }
}

/// Shared by every service that needs a caller.
#[derive(Clone, Debug)]
pub struct Admission(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    authenticators: Arc<Authenticators>,
    limits: AdmissionLimits,
    budget: Budget,
    /// Of those whose credentials are being judged.
    strangers: Budget,
    turnstile: Turnstile,
    rate: Option<Arc<IdentityRate>>,
    /// Of callers' names in the queue.
    seed: RandomState,
    refusals: Sampler,
    metrics: Metrics,
}

/// A gRPC service behind the admission layer.
#[derive(Clone, Debug)]
pub struct AdmittedService<S> {
    inner: S,
    admission: Admission,
    form: Form,
}

/// What a service's calls are.
#[derive(Clone, Debug)]
enum Form {
    /// One message, one answer.
    Single,
    /// A stream of messages; so many calls at once.
    Stream(Arc<Semaphore>),
}

/// A call with many requests, of a caller who was judged. Only this layer makes one.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(super) authenticators: Arc<Authenticators>,
    pub(super) peer: Arc<Peer>,
    pub(super) caller: Arc<Caller>,
    /// Of the call itself.
    pub(super) context: RequestContext,
    pub(super) inbox: Inbox,
    lane: Lane,
    turnstile: Turnstile,
    rate: Option<Arc<IdentityRate>>,
    _place: OwnedSemaphorePermit,
}

impl Opened {
    /// The turn of one request of the call: its identity's rate, and its place among those in work.
    pub(super) async fn turn(
        &self,
        caller: &Caller,
        context: &RequestContext,
    ) -> Result<Place, RequestError> {
        if let Some(rate) = &self.rate {
            rate.take(caller, context).await?;
        }
        Ok(self.turnstile.enter(self.lane).await?)
    }
}

impl Admission {
    /// The layer over these authenticators, with a rate for each identity or none.
    pub fn new(
        authenticators: Arc<Authenticators>,
        limits: AdmissionLimits,
        rate: Option<IdentityRate>,
        metrics: Metrics,
    ) -> Self {
        Self(Arc::new(Shared {
            authenticators,
            limits,
            budget: Budget::new(limits.buffered_bytes, metrics.buffered_bytes().clone()),
            strangers: Budget::new(
                limits.buffered_bytes / STRANGERS_SHARE,
                metrics.buffered_bytes().clone(),
            ),
            turnstile: Turnstile::new(limits.turnstile()),
            rate: rate.map(Arc::new),
            seed: RandomState::new(),
            refusals: Sampler::new(LOGGED_REFUSALS_PER_SECOND),
            metrics,
        }))
    }

    /// Requests in work, and requests that wait for their turn.
    pub fn load(&self) -> (usize, usize) {
        self.0.turnstile.load()
    }

    /// Puts a service behind the layer.
    pub fn guard<S>(&self, inner: S) -> AdmittedService<S> {
        AdmittedService {
            inner,
            admission: self.clone(),
            form: Form::Single,
        }
    }

    /// The same for a service whose calls carry many requests, so many calls at once.
    pub fn guard_calls<S>(&self, inner: S, max_calls: usize) -> AdmittedService<S> {
        AdmittedService {
            form: Form::Stream(Arc::new(Semaphore::new(max_calls))),
            ..self.guard(inner)
        }
    }
}

impl<S: NamedService> NamedService for AdmittedService<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> Service<Request<Body>> for AdmittedService<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let spare = self.inner.clone();
        let ready = std::mem::replace(&mut self.inner, spare);
        let shared = Arc::clone(&self.admission.0);
        let form = self.form.clone();
        Box::pin(async move { Ok(shared.answer(request, ready, form).await) })
    }
}

impl Shared {
    async fn answer<S>(&self, request: Request<Body>, inner: S, form: Form) -> Response<Body>
    where
        S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    {
        let method = method(request.uri().path());
        if let Err(full) = self.look(&request) {
            return self.turn_away(&full.into(), method);
        }
        let context = RequestContext {
            id: RequestId::random(),
            method,
            deadline: Instant::now() + self.limits.request_timeout,
            claimed_cluster: claimed_cluster(request.headers()),
        };
        let span = info_span!(
            "rpc",
            method = context.method,
            request_id = %context.id,
            peer = field::Empty,
            caller = field::Empty,
            issuer = field::Empty,
            serial = field::Empty,
        );
        let id = context.id.clone();
        let mut known = false;
        let single = matches!(form, Form::Single);
        let work = async {
            match form {
                Form::Single => self.serve(request, inner, context, &mut known).await,
                Form::Stream(places) => self.open(request, inner, context, places, &mut known).await,
            }
        };
        let response = match work.instrument(span.clone()).await {
            // Each request of an open call is counted when it is answered.
            Ok(response) if !single && code(&response) == Code::Ok => return response,
            Ok(response) => response,
            Err(error) => {
                span.in_scope(|| self.report(&error, known));
                error.to_status(&id).into_http()
            }
        };
        self.metrics.answered(method, code_name(code(&response)));
        response
    }

    async fn serve<S>(
        &self,
        request: Request<Body>,
        mut inner: S,
        context: RequestContext,
        known: &mut bool,
    ) -> Result<Response<Body>, RequestError>
    where
        S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    {
        let _total = self.metrics.time(Stage::Total);
        self.metrics.csr_received();
        let deadline = context.deadline;
        let work = async {
            let (head, body) = request.into_parts();
            let (caller, lane, mut charge) = self.identify(&head, known).await?;
            if let Some(rate) = &self.rate {
                rate.take(&caller, &context).await?;
            }
            let message = {
                let _time = self.metrics.time(Stage::Body);
                message::read(body, self.sizes(), &mut charge).await?
            };
            // Not before the message is whole: who sends slowly must not keep others from working.
            let place = self.turnstile.enter(lane).await?;
            let mut request = Request::from_parts(head, message);
            request.extensions_mut().insert(Admitted::new(caller, context));
            // Nothing here fails: the generated server answers errors too.
            let response = inner.call(request).await.unwrap_or_else(|never| match never {});
            drop(place);
            // Who does not take its answer keeps its share of the memory, and loses its connection.
            let unsent = charge.holder().answer();
            Ok(response.map(|body| Held::body(body, (charge, unsent))))
        };
        timeout_at(deadline, work)
            .await
            .unwrap_or(Err(RequestError::DeadlineExceeded))
    }

    /// The same for a call with many requests, up to its first message.
    async fn open<S>(
        &self,
        request: Request<Body>,
        mut inner: S,
        context: RequestContext,
        places: Arc<Semaphore>,
        known: &mut bool,
    ) -> Result<Response<Body>, RequestError>
    where
        S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    {
        let deadline = context.deadline;
        let work = async {
            let (mut head, body) = request.into_parts();
            // An open call holds a place of its own, and a charge for each of its messages.
            let (caller, lane, _charge) = self.identify(&head, known).await?;
            let place = places
                .try_acquire_owned()
                .map_err(|_full| RequestError::Overloaded)?;
            let connected = head
                .extensions
                .get::<ConnectedPeer>()
                .ok_or(RequestError::NotAdmitted)?;
            let holder = Arc::clone(&connected.standing);
            let inbox = Inbox::new(self.sizes(), self.budget.clone(), holder);
            let body = Body::new(inbox.meter(body));
            let opened = Opened {
                authenticators: Arc::clone(&self.authenticators),
                peer: Arc::clone(&connected.peer),
                caller: Arc::new(caller),
                context,
                inbox,
                lane,
                turnstile: self.turnstile.clone(),
                rate: self.rate.clone(),
                _place: place,
            };
            head.extensions.insert(Arc::new(opened));
            let request = Request::from_parts(head, body);
            Ok(inner.call(request).await.unwrap_or_else(|never| match never {}))
        };
        timeout_at(deadline, work)
            .await
            .unwrap_or(Err(RequestError::DeadlineExceeded))
    }

    /// Whether there is room in the queue, as far as that can be told before anything is spent.
    fn look(&self, request: &Request<Body>) -> Result<(), Full> {
        let peer = request.extensions().get::<ConnectedPeer>();
        self.turnstile.look(peer.and_then(|peer| {
            let connection = peer.standing.number();
            let caller = peer.standing.caller()?;
            Some(Lane { caller, connection })
        }))
    }

    /// The answer to most requests when there are far too many: no span, no name, samples in the log.
    fn turn_away(&self, error: &RequestError, method: &'static str) -> Response<Body> {
        self.metrics.csr_received();
        self.report(error, false);
        let status = error.to_status(&RequestId::unnamed());
        self.metrics.answered(method, code_name(status.code()));
        status.into_http()
    }

    fn sizes(&self) -> Sizes {
        Sizes {
            message: self.limits.message_bytes,
            order: self.limits.csr_bytes.saturating_add(ORDER_BYTES),
        }
    }

    /// Who sent it, and its place in the budget.
    ///
    /// On a connection that is nobody's yet the place is one of the strangers', until the caller
    /// is known: however many wait for their credentials to be judged, the known are served.
    async fn identify(&self, head: &Parts, known: &mut bool) -> Result<(Caller, Lane, Charge), RequestError> {
        let _time = self.metrics.time(Stage::Authenticate);
        // Without a connection there is no peer: the layer was mounted on another transport.
        let ConnectedPeer { peer, standing } = head
            .extensions
            .get::<ConnectedPeer>()
            .ok_or(RequestError::NotAdmitted)?;
        Span::current().record("peer", field::display(peer.addr));
        let stranger = !standing.is_known();
        let budget = if stranger { &self.strangers } else { &self.budget };
        let mut charge = budget.open(standing).ok_or(RequestError::Overloaded)?;
        let caller = self
            .authenticators
            .authenticate(&head.headers, peer)
            .await
            .map_err(RequestError::Unauthenticated)?;
        *known = true;
        if let Some(identity) = caller.identities().first() {
            Span::current().record("caller", field::display(identity));
        }
        let lane = self.lane(&caller, standing);
        standing.vouch(lane.caller);
        if stranger {
            // Given back first: a connection's share is of both.
            drop(charge);
            charge = self.budget.open(standing).ok_or(RequestError::Overloaded)?;
        }
        Ok((caller, lane, charge))
    }

    /// Whose turn it is: each identity's, and where the token names a pod, each pod's. The replicas
    /// of a workload are one identity, and not greedy for being many.
    fn lane(&self, caller: &Caller, standing: &Standing) -> Lane {
        let identity = caller.identities().first();
        let pod = caller.kubernetes().and_then(|facts| facts.pod.as_ref());
        Lane {
            caller: self
                .seed
                .hash_one((identity, pod.and_then(|pod| pod.uid.as_deref()))),
            connection: standing.number(),
        }
    }

    fn report(&self, error: &RequestError, known: bool) {
        if let RequestError::Unauthenticated(_) = error {
            self.metrics.authentication_failed();
        }
        if let Some(kind) = error.overload() {
            self.metrics.overloaded(kind);
        }
        if known && !error.is_overload() {
            if let Some(kind) = error.sign_error() {
                self.metrics.sign_failed(kind);
            }
            info!(error = chain(error), "a certificate request was refused");
        } else if let Some(left_out) = self.refusals.admit() {
            let reasons = match error {
                RequestError::Unauthenticated(failure) => failure.reasons(),
                error => chain(error),
            };
            info!(reasons, left_out, "a request was refused");
        }
    }
}

impl From<Full> for RequestError {
    fn from(Full { retry_after }: Full) -> Self {
        Self::QueueFull { retry_after }
    }
}

fn method(path: &str) -> &'static str {
    match path.trim_start_matches('/') {
        CREATE_CERTIFICATE => CREATE_CERTIFICATE,
        HANDLE_CSR => HANDLE_CSR,
        SIGN => SIGN,
        _ => "other",
    }
}

fn claimed_cluster(headers: &HeaderMap) -> Option<String> {
    let mut values = headers.get_all("clusterid").iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value
            .to_str()
            .ok()
            .filter(|text| text.len() <= MAX_CLUSTER_BYTES)
            .map(str::to_owned),
        _ => None,
    }
}

/// A unary error is in the headers; a success has its status behind the message.
fn code(response: &Response<Body>) -> Code {
    response
        .headers()
        .get("grpc-status")
        .map_or(Code::Ok, |value| Code::from_bytes(value.as_bytes()))
}

#[cfg(test)]
mod tests;
