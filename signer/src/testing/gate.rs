//! A gate that signs with a key in memory and keeps what it was asked.

use std::sync::Arc;

use futures::{SinkExt, StreamExt};
use parking_lot::Mutex;
use sealwright_gate::client::GateStream;
use sealwright_gate::protocol::MessageCodec;
use sealwright_proto::gate::{
    DenialRecorded, Evidence, IssueRequest, Issued, Origin, RecordDenial, Refusal, Request, Response, Status,
    origin, refusal, request, response,
};
use sealwright_x509::tbs::LeafTbs;
use tokio::net::UnixStream;
use tokio::sync::{Notify, mpsc};
use tokio_util::codec::Framed;

use super::TestPki;
use super::policies::{FakeEntry, FakePolicies};

/// What the gate does with requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Behaviour {
    #[default]
    Signs,
    IsAway,
    IsOverloaded,
    /// Answers what it was asked to sign only when it is released.
    Waits,
}

/// A gate in this process.
#[derive(Clone)]
pub(crate) struct FakeGate(Arc<State>);

struct State {
    pki: Arc<TestPki>,
    behaviour: Mutex<Behaviour>,
    issues: Mutex<Vec<IssueRequest>>,
    denials: Mutex<Vec<RecordDenial>>,
    policies: Mutex<FakePolicies>,
    streams: mpsc::Sender<GateStream>,
    asked: Notify,
    release: Notify,
}

impl FakeGate {
    /// A gate that nobody is connected to yet.
    pub(crate) fn new(pki: Arc<TestPki>) -> (Self, mpsc::Receiver<GateStream>) {
        let (streams, receiver) = mpsc::channel(4);
        let state = State {
            pki,
            behaviour: Mutex::default(),
            issues: Mutex::default(),
            denials: Mutex::default(),
            policies: Mutex::default(),
            streams,
            asked: Notify::new(),
            release: Notify::new(),
        };
        (Self(Arc::new(state)), receiver)
    }

    /// Offers the front one connection; the task ends with it, or when it is aborted.
    pub(crate) async fn connect(&self) -> tokio::task::JoinHandle<()> {
        let (ours, theirs) = UnixStream::pair().unwrap();
        self.0.streams.send(theirs.into()).await.unwrap();
        let state = Arc::clone(&self.0);
        tokio::spawn(async move {
            let mut frames = Framed::new(ours, MessageCodec::<Request, Response>::default());
            while let Some(Ok(request)) = frames.next().await {
                let Some(body) = request.body else { continue };
                state.wait(&body).await;
                if let Some(body) = state.answer(body) {
                    let response = Response {
                        id: request.id,
                        body: Some(body),
                    };
                    if frames.send(&response).await.is_err() {
                        return;
                    }
                }
            }
        })
    }

    pub(crate) fn behave(&self, behaviour: Behaviour) {
        *self.0.behaviour.lock() = behaviour;
    }

    /// Completes when a gate that waits was asked to sign.
    pub(crate) async fn asked(&self) {
        self.0.asked.notified().await;
    }

    /// Lets a gate that waits answer once.
    pub(crate) fn release(&self) {
        self.0.release.notify_one();
    }

    /// Puts a set of these in force, over the one before.
    pub(crate) fn put_in_force(&self, entries: &[FakeEntry]) {
        self.0.policies.lock().put_in_force(entries);
    }

    pub(crate) fn issues(&self) -> Vec<IssueRequest> {
        self.0.issues.lock().clone()
    }

    pub(crate) fn denials(&self) -> Vec<RecordDenial> {
        self.0.denials.lock().clone()
    }
}

fn refused(code: refusal::Code) -> response::Body {
    response::Body::Refusal(Refusal {
        code: code.into(),
        message: "as the test says".to_owned(),
        retry_after_ms: 250,
        ..Refusal::default()
    })
}

impl State {
    async fn wait(&self, body: &request::Body) {
        let waits = *self.behaviour.lock() == Behaviour::Waits;
        if waits && matches!(body, request::Body::Issue(_)) {
            self.asked.notify_one();
            self.release.notified().await;
        }
    }

    fn answer(&self, body: request::Body) -> Option<response::Body> {
        let behaviour = *self.behaviour.lock();
        if let request::Body::Status(_) = &body {
            return Some(response::Body::Status(Status {
                ready: matches!(behaviour, Behaviour::Signs | Behaviour::Waits),
                reasons: vec!["as the test says".to_owned()],
                ..Status::default()
            }));
        }
        let code = match behaviour {
            Behaviour::Signs | Behaviour::Waits => return self.obey(body),
            Behaviour::IsAway => refusal::Code::Unavailable,
            Behaviour::IsOverloaded => refusal::Code::Overloaded,
        };
        Some(refused(code))
    }

    fn is_stale(&self, evidence: Option<&Evidence>) -> bool {
        let decision = evidence.and_then(|evidence| evidence.decision.as_ref());
        decision.is_none_or(|decision| decision.set_number != self.policies.lock().number())
    }

    fn obey(&self, body: request::Body) -> Option<response::Body> {
        Some(match body {
            request::Body::Issue(issue) if self.is_stale(issue.evidence.as_ref()) => {
                response::Body::Refusal(Refusal {
                    code: refusal::Code::Stale.into(),
                    set_number: self.policies.lock().number(),
                    ..Refusal::default()
                })
            }
            request::Body::Issue(issue) => {
                let leaf = LeafTbs::decode(&issue.tbs).unwrap();
                let certificate = leaf.assemble(&self.pki.sign(leaf.as_der()));
                self.issues.lock().push(issue);
                self.issued(certificate)
            }
            request::Body::Serving(serving) => self.issued(self.pki.issue_serving(&serving.csr)),
            request::Body::Denial(denial) => {
                self.denials.lock().push(denial);
                response::Body::Denial(DenialRecorded { sequence: 1 })
            }
            request::Body::Origin(_) => response::Body::Origin(Origin {
                standing: origin::Standing::Foreign.into(),
                ..Origin::default()
            }),
            request::Body::PolicyState(_) => response::Body::PolicyState(self.policies.lock().state()),
            request::Body::PolicyFetch(fetch) => match self.policies.lock().fetch(&fetch) {
                Some(fetched) => response::Body::PolicyFetch(fetched),
                None => refused(refusal::Code::Invalid),
            },
            request::Body::Status(_)
            | request::Body::Query(_)
            | request::Body::Cancel(_)
            | request::Body::PolicyUpload(_)
            | request::Body::PolicyStatement(_) => return None,
        })
    }

    fn issued(&self, certificate: Vec<u8>) -> response::Body {
        response::Body::Issued(Issued {
            certificate: certificate.into(),
            intermediates: vec![self.pki.issuing_der.clone().into()],
            roots_pem: self.pki.roots_pem().into(),
            sequence: 1,
        })
    }
}
