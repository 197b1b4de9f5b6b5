//! Who comes in: callers with a client certificate whose identity has roles, a few calls at a time.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::fmt;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::BoxFuture;
use http::request::Parts;
use http::{Request, Response};
use sealwright_identity::SpiffeId;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tonic::Status;
use tonic::body::Body;
use tonic::server::NamedService;
use tower::Service;
use tracing::info;

use super::config::{PolicyRole, Roles};
use crate::acceptor::ConnectedPeer;
use crate::authn::{AuthSource, Authenticators};
use crate::service::{Held, UNAUTHENTICATED};

/// Calls at once. Each holds its place until its answer was sent, watchers as long as they watch.
const CALLS: usize = 16;
const WATCHERS: usize = 64;
const WATCH: &str = "/sealwright.policy.v1.PolicyService/Watch";
/// How long the credentials may take.
const AUTHENTICATION: Duration = Duration::from_secs(10);
/// From the headers to the head of the answer: an upload over a slow line, or a whole set compiled.
const CALL: Duration = Duration::from_secs(600);

/// Somebody with roles. Only the door makes one.
#[derive(Clone, Debug)]
pub(crate) struct Administrator {
    identity: SpiffeId,
    roles: BTreeSet<PolicyRole>,
}

impl Administrator {
    /// The caller, if it has that role.
    pub(crate) fn with<T>(request: &tonic::Request<T>, role: PolicyRole) -> Result<Self, Status> {
        Self::with_any(request, &[role])
    }

    /// The caller, if it has one of those roles. Who has any role may read.
    pub(crate) fn with_any<T>(request: &tonic::Request<T>, wanted: &[PolicyRole]) -> Result<Self, Status> {
        // Without it the service was mounted without its door.
        let who = request.extensions().get::<Self>();
        let who = who.ok_or_else(|| Status::unauthenticated(UNAUTHENTICATED))?;
        if wanted.contains(&PolicyRole::Reader) || wanted.iter().any(|role| who.roles.contains(role)) {
            return Ok(who.clone());
        }
        let names: Vec<&str> = wanted.iter().map(|role| role.as_str()).collect();
        info!(target: "audit", identity = %who, wanted = names.join(" or "), "a call about policies was refused");
        Err(Status::permission_denied(format!(
            "{} has not the role {}; see [[policy_roles]]",
            who.identity,
            names.join(" or ")
        )))
    }
}

impl Administrator {
    /// The identity of its client certificate.
    pub(crate) fn identity(&self) -> &SpiffeId {
        &self.identity
    }
}

impl fmt::Display for Administrator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.identity.fmt(f)
    }
}

/// Lets callers with roles in.
#[derive(Clone, Debug)]
pub(crate) struct Door(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    authenticators: Arc<Authenticators>,
    roles: Roles,
    calls: Arc<Semaphore>,
    watchers: Arc<Semaphore>,
    seed: RandomState,
}

impl Door {
    pub(crate) fn new(authenticators: Arc<Authenticators>, roles: Roles) -> Self {
        Self(Arc::new(Inner {
            authenticators,
            roles,
            calls: Arc::new(Semaphore::new(CALLS)),
            watchers: Arc::new(Semaphore::new(WATCHERS)),
            seed: RandomState::new(),
        }))
    }

    /// Puts a service behind the door.
    pub(crate) fn guard<S>(&self, inner: S) -> Guarded<S> {
        Guarded {
            inner,
            door: self.clone(),
        }
    }
}

/// A service behind the door.
#[derive(Clone, Debug)]
pub(crate) struct Guarded<S> {
    inner: S,
    door: Door,
}

impl<S: NamedService> NamedService for Guarded<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> Service<Request<Body>> for Guarded<S>
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
        let door = Arc::clone(&self.door.0);
        Box::pin(async move {
            Ok(door
                .answer(request, ready)
                .await
                .unwrap_or_else(Status::into_http))
        })
    }
}

impl Inner {
    async fn answer<S>(&self, request: Request<Body>, mut inner: S) -> Result<Response<Body>, Status>
    where
        S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    {
        let (mut head, body) = request.into_parts();
        let places = if head.uri.path() == WATCH {
            &self.watchers
        } else {
            &self.calls
        };
        let who = timeout(AUTHENTICATION, self.identify(&head))
            .await
            .unwrap_or_else(|_late| Err(Status::unauthenticated(UNAUTHENTICATED)))?;
        let place = Arc::clone(places)
            .try_acquire_owned()
            .map_err(|_full| Status::resource_exhausted("too many calls about policies at once"))?;
        head.extensions.insert(who);
        match timeout(CALL, inner.call(Request::from_parts(head, body))).await {
            Ok(Ok(response)) => Ok(response.map(|body| Held::body(body, place))),
            Ok(Err(never)) => match never {},
            Err(_late) => Err(Status::deadline_exceeded("the call took longer than it may")),
        }
    }

    async fn identify(&self, head: &Parts) -> Result<Administrator, Status> {
        let stranger = || Status::unauthenticated(UNAUTHENTICATED);
        let connected = head.extensions.get::<ConnectedPeer>().ok_or_else(stranger)?;
        let ConnectedPeer { peer, standing } = connected;
        let caller = self
            .authenticators
            .authenticate(&head.headers, peer)
            .await
            .map_err(|_failure| stranger())?;
        let [identity] = caller.identities() else {
            return Err(stranger());
        };
        standing.vouch(self.seed.hash_one(identity));
        if caller.source() != AuthSource::ClientCertificate {
            return Err(Status::permission_denied(
                "policies are administrated with a client certificate, not with a token",
            ));
        }
        let roles = self.roles.of(identity).ok_or_else(|| {
            info!(target: "audit", identity = %identity, "a call about policies was refused");
            Status::permission_denied(format!("{identity} has no role in [[policy_roles]]"))
        })?;
        Ok(Administrator {
            identity: identity.clone(),
            roles: roles.clone(),
        })
    }
}
