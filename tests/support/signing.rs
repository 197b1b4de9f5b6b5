//! A client of the signing service: one call, many requests.

use sealwright_proto::signing::{
    SignRequest, SignResponse, sign_response::Outcome, signing_service_client::SigningServiceClient,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Status, Streaming, transport::Channel};

use crate::{Client, Metadata};

/// An open call.
pub struct Call {
    requests: mpsc::Sender<SignRequest>,
    answers: Streaming<SignResponse>,
}

/// What a request came to: its chain, or the code and text of its refusal.
pub type Answer = (u64, Result<Vec<String>, (Code, String)>);

impl Call {
    /// Opens a call with a bearer token.
    pub async fn open(client: &Client, token: &str) -> Result<Self, Status> {
        let bearer = format!("Bearer {token}");
        Self::open_with(client.channel(), &[("authorization", &bearer)]).await
    }

    /// Opens a call with the headers given.
    pub async fn open_with(channel: Channel, headers: Metadata<'_>) -> Result<Self, Status> {
        let (requests, receiver) = mpsc::channel(1);
        let mut request = Request::new(ReceiverStream::new(receiver));
        for (name, value) in headers {
            request.metadata_mut().append(*name, value.parse().unwrap());
        }
        let mut client = SigningServiceClient::new(channel).max_encoding_message_size(64 * 1024 * 1024);
        let answers = client.sign(request).await?.into_inner();
        Ok(Self { requests, answers })
    }

    /// Sends a request for an hour; `false` when the call does not take it any more.
    pub async fn ask(&self, id: u64, csr: &str) -> bool {
        let request = SignRequest {
            id,
            csr: csr.as_bytes().to_vec(),
            validity_duration: 3600,
            metadata: None,
        };
        self.send(request).await
    }

    /// Sends a request.
    pub async fn send(&self, request: SignRequest) -> bool {
        self.requests.send(request).await.is_ok()
    }

    /// Where requests can be sent while answers are waited for.
    pub fn sender(&self) -> mpsc::Sender<SignRequest> {
        self.requests.clone()
    }

    /// The next answer; none when the call has ended well.
    pub async fn next(&mut self) -> Result<Option<Answer>, Status> {
        Ok(self.answers.message().await?.map(|answer| {
            let outcome = match answer.outcome.unwrap() {
                Outcome::Certificate(certificate) => Ok(certificate.cert_chain),
                Outcome::Error(status) => Err((Code::from(status.code), status.message)),
            };
            (answer.id, outcome)
        }))
    }

    /// Closes the client's side and takes what is left: the answers, and how the call ended.
    pub async fn finish(mut self) -> (Vec<Answer>, Result<(), Status>) {
        let (closed, _receiver) = mpsc::channel(1);
        drop(std::mem::replace(&mut self.requests, closed));
        let mut answers = Vec::new();
        loop {
            match self.next().await {
                Ok(Some(answer)) => answers.push(answer),
                Ok(None) => return (answers, Ok(())),
                Err(status) => return (answers, Err(status)),
            }
        }
    }
}
