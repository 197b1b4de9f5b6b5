//! The plain HTTP port: `/livez`, `/readyz`, `/metrics`, `/bundle`. On loopback by default.
//!
//! Nothing here is secret and nothing here changes anything.

use std::{future::IntoFuture, net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Json, Router,
    extract::State,
    http::{HeaderValue, StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
    routing::get,
};
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;

use crate::{
    drain::{Watcher, run_with_drain},
    metrics::{self, Metrics},
    readiness::Readiness,
};

/// The `[http]` section.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct HttpConfig {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 15014)),
        }
    }
}

/// The trust bundle as PEM text, asked for at each request. `None`: there is none yet.
pub type Bundle = Arc<dyn Fn() -> Option<Arc<str>> + Send + Sync>;

/// What the pages show.
#[derive(Clone)]
pub struct Pages {
    /// For `/readyz`.
    pub readiness: Readiness,
    /// For `/metrics`.
    pub metrics: Metrics,
    /// For `/bundle`.
    pub bundle: Bundle,
}

impl std::fmt::Debug for Pages {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pages")
            .field("readiness", &self.readiness)
            .finish_non_exhaustive()
    }
}

/// A bound port that does not answer yet.
#[derive(Debug)]
pub struct Bound {
    listener: TcpListener,
    address: SocketAddr,
}

/// Binds the port.
///
/// # Errors
/// When the address is taken or not ours.
pub async fn bind(listen: SocketAddr) -> Result<Bound, HttpError> {
    let failed = |source| HttpError::Bind { listen, source };
    let listener = TcpListener::bind(listen).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok(Bound { listener, address })
}

impl Bound {
    /// The real address.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers until the drain.
    ///
    /// # Errors
    /// When the listener fails for good.
    pub async fn serve(self, pages: Pages, watcher: Watcher) -> Result<(), HttpError> {
        let draining = watcher.token();
        let served = axum::serve(self.listener, router(pages))
            .with_graceful_shutdown(draining.cancelled_owned())
            .into_future();
        match run_with_drain("http", watcher, served).await {
            Some(Err(source)) => Err(HttpError::Serve { source }),
            Some(Ok(())) | None => Ok(()),
        }
    }
}

/// The pages.
pub fn router(pages: Pages) -> Router {
    Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics_page))
        .route("/bundle", get(bundle))
        .with_state(pages)
}

/// The body of `/readyz`.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct ReadyPage {
    /// Whether signing works.
    pub ready: bool,
    /// Why not.
    pub reasons: Vec<String>,
    /// What is to be known although it does not speak against signing.
    #[serde(default)]
    pub notices: Vec<String>,
}

async fn readyz(State(pages): State<Pages>) -> (StatusCode, Json<ReadyPage>) {
    let reasons = pages.readiness.reasons();
    let ready = reasons.is_empty();
    let status = if ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let notices = pages.readiness.notices();
    let page = ReadyPage {
        ready,
        reasons,
        notices,
    };
    (status, Json(page))
}

async fn metrics_page(State(pages): State<Pages>) -> Response {
    match pages.metrics.encode() {
        Ok(text) => (
            [(CONTENT_TYPE, HeaderValue::from_static(metrics::CONTENT_TYPE))],
            text,
        )
            .into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

async fn bundle(State(pages): State<Pages>) -> Response {
    let pem = HeaderValue::from_static("application/x-pem-file");
    match (pages.bundle)() {
        Some(text) => ([(CONTENT_TYPE, pem)], text.to_string()).into_response(),
        None => (StatusCode::SERVICE_UNAVAILABLE, "no trust bundle yet\n").into_response(),
    }
}

/// How long a drain of the whole process should take at most.
pub const DEFAULT_DRAIN: Duration = Duration::from_secs(15);

/// Why the pages are not there.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The port could not be had.
    #[error("cannot listen for HTTP on {listen}; choose another http.listen")]
    Bind {
        /// As configured.
        listen: SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The listener failed.
    #[error("the HTTP port failed")]
    Serve {
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::drain::Drain;

    async fn fetch(address: SocketAddr, path: &str) -> String {
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        text
    }

    #[tokio::test]
    async fn shows_health_with_reasons_metrics_and_the_bundle() {
        let readiness = Readiness::new();
        let gate = readiness.condition("gate", "not running");
        let pages = Pages {
            readiness,
            metrics: Metrics::new(),
            bundle: Arc::new(|| Some("PEM\n".into())),
        };
        let bound = bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        let address = bound.address();
        let drain = Drain::new();
        let server = tokio::spawn(bound.serve(pages, drain.watcher()));

        assert!(fetch(address, "/livez").await.starts_with("HTTP/1.1 200"));
        let unready = fetch(address, "/readyz").await;
        assert!(unready.starts_with("HTTP/1.1 503"), "{unready}");
        assert!(unready.contains("gate: not running"), "{unready}");
        gate.ready();
        gate.notice(vec!["ceremony: none".to_owned()]);
        let ready = fetch(address, "/readyz").await;
        assert!(ready.starts_with("HTTP/1.1 200"), "{ready}");
        assert!(ready.contains("gate: ceremony: none"), "{ready}");
        assert!(fetch(address, "/metrics").await.contains("# EOF"));
        assert!(fetch(address, "/bundle").await.ends_with("PEM\n"));
        assert!(fetch(address, "/other").await.starts_with("HTTP/1.1 404"));

        assert!(drain.drain(Duration::from_secs(5)).await);
        server.await.unwrap().unwrap();
    }
}
