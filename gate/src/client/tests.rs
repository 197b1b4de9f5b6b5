//! The client against a gate that the test plays itself.

use futures::{SinkExt, StreamExt};
use sealwright_proto::gate::{Decision, Refusal, Request, Response, refusal};
use tokio::net::UnixStream;
use tokio_util::codec::Framed;

use super::*;
use crate::protocol::MessageCodec;

type Gate = Framed<UnixStream, MessageCodec<Request, Response>>;

/// Long enough never to pass in a test that works.
fn far() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

fn limits(in_flight: usize) -> ClientLimits {
    ClientLimits {
        in_flight,
        ..ClientLimits::default()
    }
}

async fn connected(in_flight: usize) -> (GateClient, Gate, mpsc::Sender<UnixStream>) {
    let (sender, receiver) = mpsc::channel(4);
    let client = GateClient::new(receiver, limits(in_flight));
    let gate = hand_over(&client, &sender, 1).await;
    (client, gate, sender)
}

async fn hand_over(client: &GateClient, sender: &mpsc::Sender<UnixStream>, generation: u64) -> Gate {
    let (ours, theirs) = UnixStream::pair().unwrap();
    sender.send(ours).await.unwrap();
    let wanted = ConnectionState::Connected { generation };
    client.state().wait_for(|state| *state == wanted).await.unwrap();
    Framed::new(theirs, MessageCodec::default())
}

fn status_of(request: &Request, serial: &str) -> Response {
    Response {
        id: request.id,
        body: Some(response::Body::Status(Status {
            token_serial: serial.into(),
            ..Status::default()
        })),
    }
}

#[tokio::test]
async fn without_a_stream_calls_fail_at_once() {
    let (_sender, receiver) = mpsc::channel::<UnixStream>(1);
    let client = GateClient::new(receiver, limits(1));
    let error = client.status(far()).await.unwrap_err();
    assert!(matches!(error, ClientError::Unavailable { .. }));
}

#[tokio::test]
async fn answers_find_their_calls_in_any_order() {
    let (client, mut gate, _sender) = connected(8).await;
    let calls = futures::future::join_all((0..8).map(|_| client.status(far())));
    let serve = async {
        let mut requests = Vec::new();
        for _ in 0..8 {
            requests.push(gate.next().await.unwrap().unwrap());
        }
        for request in requests.iter().rev() {
            let answer = status_of(request, &request.id.to_string());
            gate.send(&answer).await.unwrap();
        }
        requests.iter().map(|r| r.id.to_string()).collect::<Vec<_>>()
    };
    let (answers, ids) = tokio::join!(calls, serve);
    let serials: Vec<_> = answers.into_iter().map(|a| a.unwrap().token_serial).collect();
    assert_eq!(serials, ids);
}

#[tokio::test]
async fn one_call_too_many_is_overload() {
    let (client, mut gate, _sender) = connected(1).await;
    let first = tokio::spawn({
        let client = client.clone();
        async move { client.status(far()).await }
    });
    let request = gate.next().await.unwrap().unwrap();
    let error = client.status(far()).await.unwrap_err();
    assert!(matches!(error, ClientError::Overloaded { .. }));
    gate.send(&status_of(&request, "a")).await.unwrap();
    assert_eq!(first.await.unwrap().unwrap().token_serial, "a");
    assert_eq!(client.in_flight(), 0);
}

#[tokio::test]
async fn a_dropped_call_is_cancelled_in_the_gate() {
    let (client, mut gate, _sender) = connected(1).await;
    let call = tokio::spawn({
        let client = client.clone();
        async move { client.status(far()).await }
    });
    let request = gate.next().await.unwrap().unwrap();
    assert!(request.timeout_ms > 0);
    call.abort();
    let cancel = gate.next().await.unwrap().unwrap();
    assert_eq!(cancel.body, Some(request::Body::Cancel(request.id)));
    // A late answer harms nobody.
    gate.send(&status_of(&request, "late")).await.unwrap();
    let (answer, ()) = tokio::join!(client.status(far()), async {
        let request = gate.next().await.unwrap().unwrap();
        gate.send(&status_of(&request, "next")).await.unwrap();
    });
    assert_eq!(answer.unwrap().token_serial, "next");
}

#[tokio::test]
async fn a_deadline_that_passed_sends_nothing() {
    let (client, _gate, _sender) = connected(1).await;
    let error = client.status(Instant::now()).await.unwrap_err();
    assert!(matches!(error, ClientError::Deadline));
    assert_eq!(client.in_flight(), 0);
}

#[tokio::test]
async fn the_end_of_the_stream_fails_what_waits_and_a_new_one_serves() {
    let (client, mut gate, sender) = connected(4).await;
    let call = tokio::spawn({
        let client = client.clone();
        async move { client.status(far()).await }
    });
    gate.next().await.unwrap().unwrap();
    drop(gate);
    let error = call.await.unwrap().unwrap_err();
    assert!(matches!(error, ClientError::Unavailable { .. }));

    let mut gate = hand_over(&client, &sender, 2).await;
    let (answer, ()) = tokio::join!(client.status(far()), async {
        let request = gate.next().await.unwrap().unwrap();
        gate.send(&status_of(&request, "again")).await.unwrap();
    });
    assert_eq!(answer.unwrap().token_serial, "again");
}

#[tokio::test]
async fn garbage_from_the_gate_ends_the_stream() {
    use tokio::io::AsyncWriteExt;
    let (client, mut gate, _sender) = connected(4).await;
    let call = tokio::spawn({
        let client = client.clone();
        async move { client.status(far()).await }
    });
    gate.next().await.unwrap().unwrap();
    gate.get_mut().write_all(&[0xff; 64]).await.unwrap();
    let error = call.await.unwrap().unwrap_err();
    assert!(matches!(error, ClientError::Unavailable { .. }));
    assert!(gate.next().await.is_none());
}

#[tokio::test]
async fn refusals_keep_their_kind() {
    let (client, mut gate, _sender) = connected(1).await;
    let codes = [
        (refusal::Code::Denied, "denied"),
        (refusal::Code::Invalid, "invalid"),
        (refusal::Code::Unavailable, "unavailable"),
        (refusal::Code::Overloaded, "overloaded"),
        (refusal::Code::Deadline, "deadline"),
        (refusal::Code::Internal, "internal"),
        (refusal::Code::Forbidden, "forbidden"),
    ];
    for (code, word) in codes {
        let (answer, ()) = tokio::join!(client.status(far()), async {
            let request = gate.next().await.unwrap().unwrap();
            let refusal = Refusal {
                code: code.into(),
                ..Refusal::default()
            };
            let body = Some(response::Body::Refusal(refusal));
            let response = Response { id: request.id, body };
            gate.send(&response).await.unwrap();
        });
        assert_eq!(answer.unwrap_err().code(), word);
    }
}

#[tokio::test]
async fn the_engine_profile_travels_once_a_connection() {
    let (client, mut gate, sender) = connected(1).await;
    let denial = || RecordDenial {
        evidence: Some(Evidence {
            decision: Some(Decision {
                engine_profile: "{}".into(),
                engine_profile_digest: "sha256:00".into(),
                ..Decision::default()
            }),
            ..Evidence::default()
        }),
        ..RecordDenial::default()
    };
    let mut seen = Vec::new();
    for round in 0..3 {
        if round == 2 {
            gate = hand_over(&client, &sender, 2).await;
        }
        let (answer, profile) = tokio::join!(client.record_denial(denial(), far()), async {
            let request = gate.next().await.unwrap().unwrap();
            let body = Some(response::Body::Denial(DenialRecorded { sequence: round }));
            let response = Response { id: request.id, body };
            gate.send(&response).await.unwrap();
            let Some(request::Body::Denial(denial)) = request.body else {
                panic!("a denial was sent");
            };
            denial.evidence.unwrap().decision.unwrap().engine_profile
        });
        assert_eq!(answer.unwrap().sequence, round);
        seen.push(profile);
    }
    assert_eq!(seen, ["{}", "", "{}"]);
}

#[tokio::test]
async fn a_request_above_a_frame_is_refused_alone() {
    let (client, mut gate, _sender) = connected(2).await;
    let huge = IssueRequest {
        tbs: vec![0; 2 << 20].into(),
        ..IssueRequest::default()
    };
    let error = client.issue(huge, far()).await.unwrap_err();
    assert!(matches!(error, ClientError::TooLarge { .. }));
    let (answer, ()) = tokio::join!(client.status(far()), async {
        let request = gate.next().await.unwrap().unwrap();
        gate.send(&status_of(&request, "fine")).await.unwrap();
    });
    assert_eq!(answer.unwrap().token_serial, "fine");
}

#[tokio::test]
async fn a_dialled_gate_is_found_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gate.sock");
    let listener = tokio::net::UnixListener::bind(&path).unwrap();
    let client = GateClient::new(dial(path), limits(1));
    for generation in 1..3 {
        let (stream, _address) = listener.accept().await.unwrap();
        let wanted = ConnectionState::Connected { generation };
        client.state().wait_for(|state| *state == wanted).await.unwrap();
        let mut gate: Gate = Framed::new(stream, MessageCodec::default());
        let (answer, ()) = tokio::join!(client.status(far()), async {
            let request = gate.next().await.unwrap().unwrap();
            gate.send(&status_of(&request, "dialled")).await.unwrap();
        });
        assert_eq!(answer.unwrap().token_serial, "dialled");
    }
}
