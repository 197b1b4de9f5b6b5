use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use futures::StreamExt as _;
use http_body_util::{BodyExt, StreamBody};
use prometheus_client::registry::Registry;
use sealwright_identity::{SharedClock, SystemClock, TrustBundle};
use tokio::sync::watch;
use tower::ServiceExt;

use super::super::budget::BASE_CHARGE;
use super::super::order::OrderError;
use super::*;
use crate::authn::{Peer, Trust};

const LIMIT: usize = 1000;
const SIZES: Sizes = Sizes {
    message: LIMIT,
    order: LIMIT,
};

/// What reached the service behind the layer.
#[derive(Clone, Debug, Default)]
struct Behind(Arc<AtomicUsize>);

impl Service<Request<Body>> for Behind {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _request: Request<Body>) -> Self::Future {
        self.0.fetch_add(1, Ordering::Relaxed);
        Box::pin(async { Ok(Response::new(Body::empty())) })
    }
}

fn admission(buffered_bytes: usize) -> Admission {
    let clock: SharedClock = Arc::new(SystemClock);
    let trust = Trust {
        domain: "cluster.local".parse().unwrap(),
        aliases: Vec::new(),
    };
    let (_sender, bundle) = watch::channel(TrustBundle::from_ders(1, Vec::new()));
    let authenticators = Authenticators::build(&[], trust, bundle, Arc::clone(&clock)).unwrap();
    Admission::new(
        Arc::new(authenticators),
        AdmissionLimits {
            message_bytes: LIMIT,
            csr_bytes: LIMIT,
            buffered_bytes,
            in_work: 16,
            request_timeout: Duration::from_secs(10),
        },
        None,
        Metrics::register(&mut Registry::default(), clock),
    )
}

fn peer() -> ConnectedPeer {
    ConnectedPeer {
        peer: Arc::new(Peer {
            addr: SocketAddr::from(([127, 0, 0, 1], 1)),
            tls: None,
        }),
        standing: Arc::default(),
    }
}

/// A body that counts how often it is asked for data.
fn counted(asked: &Arc<AtomicUsize>) -> Body {
    let asked = Arc::clone(asked);
    let frames = futures::stream::poll_fn(move |_context| {
        asked.fetch_add(1, Ordering::Relaxed);
        Poll::Ready(None::<Result<http_body::Frame<Bytes>, Infallible>>)
    });
    Body::new(StreamBody::new(frames))
}

fn body(frames: &[&[u8]]) -> Body {
    let frames: Vec<Result<_, Infallible>> = frames
        .iter()
        .map(|bytes| Ok(http_body::Frame::data(Bytes::copy_from_slice(bytes))))
        .collect();
    Body::new(StreamBody::new(futures::stream::iter(frames)))
}

fn framed(message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    [&[0], &length[..], message].concat()
}

fn grpc_status(response: &Response<Body>) -> Code {
    code(response)
}

#[tokio::test]
async fn without_credentials_the_body_is_never_read() {
    let behind = Behind::default();
    let asked = Arc::new(AtomicUsize::new(0));
    let mut request = Request::new(counted(&asked));
    *request.uri_mut() = format!("/{CREATE_CERTIFICATE}").parse().unwrap();
    request.extensions_mut().insert(peer());
    let response = admission(1 << 20)
        .guard(behind.clone())
        .oneshot(request)
        .await
        .unwrap();
    assert_eq!(grpc_status(&response), Code::Unauthenticated);
    assert_eq!(asked.load(Ordering::Relaxed), 0);
    assert_eq!(behind.0.load(Ordering::Relaxed), 0);
    let text = response.headers()["grpc-message"].to_str().unwrap();
    assert!(!text.contains("authenticator"), "{text}");
}

#[tokio::test]
async fn without_a_peer_nobody_is_answered() {
    let behind = Behind::default();
    let response = admission(1 << 20)
        .guard(behind.clone())
        .oneshot(Request::new(Body::empty()))
        .await
        .unwrap();
    assert_eq!(grpc_status(&response), Code::Unauthenticated);
    assert_eq!(behind.0.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn an_exhausted_budget_is_an_overload_before_anything_else() {
    let mut request = Request::new(Body::empty());
    request.extensions_mut().insert(peer());
    let response = admission(BASE_CHARGE - 1)
        .guard(Behind::default())
        .oneshot(request)
        .await
        .unwrap();
    assert_eq!(grpc_status(&response), Code::ResourceExhausted);
    assert!(response.headers().contains_key("grpc-status-details-bin"));
}

#[tokio::test]
async fn strangers_that_wait_keep_nobody_out_who_is_known() {
    let admission = admission(8 * BASE_CHARGE);
    let waiting: Vec<_> = std::iter::from_fn(|| admission.0.strangers.open(&Arc::default())).collect();
    assert_eq!(waiting.len(), 8 / STRANGERS_SHARE);
    let known = peer();
    known.standing.vouch(1);
    // Nobody vouches here, so who gets that far is told so.
    for (peer, code) in [(peer(), Code::ResourceExhausted), (known, Code::Unauthenticated)] {
        let mut request = Request::new(Body::empty());
        request.extensions_mut().insert(peer);
        let response = admission.guard(Behind::default()).oneshot(request).await;
        assert_eq!(grpc_status(&response.unwrap()), code);
    }
}

/// Whatever goes wrong before the credentials were good: a flood of it must not fill the log.
#[tokio::test]
async fn only_samples_of_what_strangers_cause_are_logged() {
    let lines = Lines::default();
    let _guard = tracing::subscriber::set_default(lines.clone());
    for bytes in [BASE_CHARGE - 1, 1 << 20] {
        let admission = admission(bytes);
        for _ in 0..10 * LOGGED_REFUSALS_PER_SECOND {
            let mut request = Request::new(Body::empty());
            request.extensions_mut().insert(peer());
            let response = admission.guard(Behind::default()).oneshot(request).await;
            assert_ne!(grpc_status(&response.unwrap()), Code::Ok);
        }
    }
    let logged = lines.0.load(Ordering::Relaxed);
    // Two layers, each in two of its seconds at the most.
    assert!(logged <= 4 * LOGGED_REFUSALS_PER_SECOND as usize, "{logged}");
}

/// A log that counts lines.
#[derive(Clone, Default)]
struct Lines(Arc<AtomicUsize>);

impl tracing::Subscriber for Lines {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        metadata.target().starts_with("sealwright")
    }

    fn new_span(&self, _span: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn event(&self, _event: &tracing::Event<'_>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn record(&self, _span: &tracing::span::Id, _values: &tracing::span::Record<'_>) {}
    fn record_follows_from(&self, _span: &tracing::span::Id, _follows: &tracing::span::Id) {}
    fn enter(&self, _span: &tracing::span::Id) {}
    fn exit(&self, _span: &tracing::span::Id) {}
}

fn charge(bytes: usize) -> Charge {
    Budget::new(bytes, prometheus_client::metrics::gauge::Gauge::default())
        .open(&Arc::default())
        .unwrap()
}

async fn read(frames: &[&[u8]]) -> Result<Vec<u8>, RequestError> {
    let read = message::read(body(frames), SIZES, &mut charge(1 << 20)).await?;
    Ok(read.collect().await.unwrap().to_bytes().to_vec())
}

#[tokio::test]
async fn a_message_comes_through_however_it_was_cut() {
    for size in [0, 1, 5, LIMIT] {
        let whole = framed(&vec![7; size]);
        for cut in [1, 2, 4, 5, 6, 1024] {
            let frames: Vec<&[u8]> = whole.chunks(cut).collect();
            assert_eq!(read(&frames).await.unwrap(), whole, "{size} in pieces of {cut}");
        }
    }
}

/// A message of `LIMIT + 1` bytes, of which only the header comes.
async fn refused_by_header(sizes: Sizes) -> RequestError {
    let header = [0, 0, 0, 3, 0xe9];
    // Nothing behind the header is asked for: the stream would panic.
    let frames = futures::stream::iter([Bytes::copy_from_slice(&header)])
        .map(|data| Ok::<_, Infallible>(http_body::Frame::data(data)))
        .chain(futures::stream::poll_fn(|_| panic!("the body was read on")));
    let body = Body::new(StreamBody::new(frames));
    message::read(body, sizes, &mut charge(1 << 20))
        .await
        .unwrap_err()
}

#[tokio::test]
async fn an_oversize_message_is_refused_by_its_header_alone() {
    let error = refused_by_header(SIZES).await;
    let RequestError::MessageTooLarge { bytes, limit } = error else {
        panic!("{error:?}");
    };
    assert_eq!((bytes, limit), (LIMIT + 1, LIMIT));
}

#[tokio::test]
async fn a_message_larger_than_any_order_is_not_held() {
    let sizes = Sizes {
        message: 2 * LIMIT,
        order: LIMIT,
    };
    let error = refused_by_header(sizes).await;
    let expected = OrderError::TooLarge {
        bytes: LIMIT + 1,
        limit: LIMIT,
    };
    assert!(
        matches!(&error, RequestError::Order(order) if *order == expected),
        "{error:?}"
    );
}

#[tokio::test]
async fn what_is_not_one_whole_message_is_malformed() {
    let whole = framed(b"message");
    let twice = [whole.clone(), whole.clone()].concat();
    for bytes in [&b""[..], &b"\0\0\0"[..], &whole[..8], &twice] {
        let error = read(&[bytes]).await.unwrap_err();
        assert!(matches!(error, RequestError::MessageMalformed), "{error:?}");
    }
}

#[tokio::test]
async fn a_message_that_the_budget_cannot_hold_is_an_overload() {
    let mut charge = charge(BASE_CHARGE);
    let limit = 2 * BASE_CHARGE;
    let message = framed(&vec![0; limit]);
    let sizes = Sizes {
        message: limit,
        order: limit,
    };
    let error = message::read(body(&[&message]), sizes, &mut charge)
        .await
        .unwrap_err();
    assert!(matches!(error, RequestError::Overloaded), "{error:?}");
}

#[test]
fn one_cluster_is_a_claim_and_two_are_none() {
    let mut headers = HeaderMap::new();
    assert_eq!(claimed_cluster(&headers), None);
    headers.append("clusterid", "east".parse().unwrap());
    assert_eq!(claimed_cluster(&headers).as_deref(), Some("east"));
    headers.append("clusterid", "west".parse().unwrap());
    assert_eq!(claimed_cluster(&headers), None);
}
