//! One question to an API server: is this token good, and whose is it?
//!
//! The request is written, and the answer read, without `kube`'s helpers: they log an answer
//! that they cannot read, and the answer repeats the token in `spec.token`.

use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use k8s_openapi::api::authentication::v1::TokenReviewStatus;
use kube::Client;
use kube::client::Body;
use serde::{Deserialize, Serialize};

const PATH: &str = "/apis/authentication.k8s.io/v1/tokenreviews";
/// An answer repeats the token (16 KiB at most) and names some groups.
const MAX_ANSWER_BYTES: usize = 256 * 1024;

/// Why a question has no answer. None of it is the token's fault.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The question could not be written.
    #[error("the review could not be written")]
    Request,
    /// The server could not be reached, or hung up.
    #[error("the API server cannot be reached")]
    Send(#[source] Box<kube::Error>),
    /// The server does not let us ask: our own credentials or rights are wanting.
    #[error("the API server answered {status} to us: it does not let this signer create TokenReviews")]
    NotAllowed {
        /// 401 or 403.
        status: StatusCode,
    },
    /// Another status than 200 and 201.
    #[error("the API server answered {status}")]
    Status {
        /// The status.
        status: StatusCode,
    },
    /// The answer broke off, or is too large.
    #[error("the API server's answer broke off or is larger than {MAX_ANSWER_BYTES} bytes")]
    Body,
    /// The answer is no TokenReview. It is not quoted.
    #[error("the API server's answer is not a TokenReview")]
    NotReview,
}

/// The question. It has no `Debug`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Question<'a> {
    api_version: &'static str,
    kind: &'static str,
    spec: Spec<'a>,
}

#[derive(Serialize)]
struct Spec<'a> {
    token: &'a str,
    audiences: &'a [String],
}

/// The answer without `spec`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    kind: String,
    status: TokenReviewStatus,
}

/// Asks. Waits as long as the server does: the caller has the deadline.
pub(super) async fn ask(
    client: &Client,
    token: &str,
    audiences: &[String],
) -> Result<TokenReviewStatus, Error> {
    let question = Question {
        api_version: "authentication.k8s.io/v1",
        kind: "TokenReview",
        spec: Spec { token, audiences },
    };
    let body = serde_json::to_vec(&question).map_err(|_error| Error::Request)?;
    let mut request = Request::new(Body::from(body));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = http::Uri::from_static(PATH);
    let json = HeaderValue::from_static("application/json");
    request.headers_mut().insert(CONTENT_TYPE, json.clone());
    request.headers_mut().insert(ACCEPT, json);

    let response = client.send(request).await;
    let response = response.map_err(|error| Error::Send(Box::new(error)))?;
    match response.status() {
        StatusCode::OK | StatusCode::CREATED => {}
        status @ (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => {
            return Err(Error::NotAllowed { status });
        }
        status => return Err(Error::Status { status }),
    }
    let body = Limited::new(response.into_body(), MAX_ANSWER_BYTES);
    let body = body.collect().await.map_err(|_error| Error::Body)?.to_bytes();
    let answer: Answer = serde_json::from_slice(&body).map_err(|_would_quote| Error::NotReview)?;
    if answer.kind != "TokenReview" {
        return Err(Error::NotReview);
    }
    Ok(answer.status)
}
