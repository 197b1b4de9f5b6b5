//! Services that ask for no credentials, health and reflection: bounded on each connection.
//!
//! Their calls may wait for a message that never comes, or stream for ever. A few on a connection
//! are all that an honest client has; one more is refused, before anything is kept for it.

use std::convert::Infallible;
use std::task::{Context, Poll};

use futures::future::BoxFuture;
use http::{Request, Response};
use tonic::Status;
use tonic::body::Body;
use tonic::server::NamedService;
use tower::Service;

use super::held::Held;
use crate::acceptor::ConnectedPeer;

/// A gRPC service for everybody, a few calls at a time.
#[derive(Clone, Debug)]
pub struct OpenService<S>(pub S);

impl<S: NamedService> NamedService for OpenService<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> Service<Request<Body>> for OpenService<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let peer = request.extensions().get::<ConnectedPeer>();
        let Some(place) = peer.and_then(|peer| peer.standing.open_call()) else {
            let status = Status::resource_exhausted("too many calls without credentials on one connection");
            return Box::pin(async move { Ok(status.into_http()) });
        };
        let answer = self.0.call(request);
        Box::pin(async move {
            let response = answer.await?;
            Ok(response.map(|body| Held::body(body, place)))
        })
    }
}
