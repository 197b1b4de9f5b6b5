//! Many certificates over one call: each request its own answer and record, every end of a call.

use std::{collections::BTreeSet, time::Duration};

use prost_types::{Struct, Value, value::Kind};
use rustix::process::Signal as Unix;
use sealwright_proto::signing::{SignRequest, signing_service_client::SigningServiceClient};
use sealwright_tests::{Client, Csr, Home, Signer, shared, signer::signal, signing::Call};
use serde_json::json;
use tokio_stream::StreamExt as _;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

const WEB: &str = "spiffe://cluster.local/ns/default/sa/web";

fn csr() -> String {
    Csr::ztunnel(WEB).pem
}

async fn open(signer: &Signer) -> Call {
    let client = Client::connect(signer).await;
    Call::open(&client, &signer.token("default", "web"))
        .await
        .unwrap()
}

/// A signer with `[server.signing]` and `[server]` settings of its own.
fn with(signing: &str, server: &str) -> (Home, Signer) {
    let home = Home::new();
    home.replace("[http]\n", &format!("[server.signing]\n{signing}\n[http]\n"));
    home.replace("[server]\n", &format!("[server]\n{server}\n"));
    let signer = home.start();
    (home, signer)
}

/// Waits until a gauge or counter has a value.
async fn shows(signer: &Signer, name: &str, value: u64) {
    let line = format!("{name} {value}");
    for _ in 0..600 {
        if signer.http("/metrics").await.1.lines().any(|found| found == line) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("never {line:?}:\n{}", signer.http("/metrics").await.1);
}

/// Asks again and again until the call is ended by the signer.
async fn ask_until_the_end(mut call: Call) -> (usize, Status) {
    let mut issued = 0;
    loop {
        call.ask(issued as u64, &csr()).await;
        match call.next().await {
            Ok(Some((_, answer))) => drop(answer.unwrap()),
            Ok(None) => panic!("it ended well"),
            Err(status) => return (issued, status),
        }
        issued += 1;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn fifty_in_one_call_have_fifty_answers_and_records() {
    let client = Client::connect(shared()).await;
    let token = shared().token("streams", "agent");
    let call = Call::open(&client, &token).await.unwrap();
    for id in 100..150 {
        assert!(call.ask(id, &csr()).await);
    }
    let (answers, end) = call.finish().await;
    end.unwrap();
    let ids: BTreeSet<u64> = answers.iter().map(|(id, _)| *id).collect();
    assert_eq!(ids, (100..150).collect());
    let leaves: BTreeSet<String> = answers
        .into_iter()
        .map(|(_, answer)| answer.unwrap().remove(0))
        .collect();
    assert_eq!(leaves.len(), 50);

    let rows = shared().log_list(&["--identity", "spiffe://cluster.local/ns/streams/sa/agent"]);
    assert_eq!(rows.len(), 50);
    assert!(rows.iter().all(|row| row["outcome"] == "issued"), "{rows:?}");
    let serials: BTreeSet<&str> = rows.iter().map(|row| row["serial"].as_str().unwrap()).collect();
    assert_eq!(serials.len(), 50);
}

#[tokio::test]
async fn the_answer_is_what_the_other_service_answers() {
    let call = open(shared()).await;
    call.ask(1, &csr()).await;
    let der: Vec<u8> = {
        use base64::{Engine as _, engine::general_purpose::STANDARD};
        let text = csr();
        let body: String = text.lines().filter(|line| !line.starts_with("-----")).collect();
        STANDARD.decode(body).unwrap()
    };
    let request = SignRequest {
        id: 2,
        csr: der,
        ..SignRequest::default()
    };
    assert!(call.send(request).await);
    let (answers, end) = call.finish().await;
    end.unwrap();
    let roots = std::fs::read_to_string(shared().trust_bundle()).unwrap();
    assert_eq!(answers.len(), 2);
    for (_, answer) in answers {
        let chain = answer.unwrap();
        assert_eq!(chain[0].matches("BEGIN CERTIFICATE").count(), 1);
        assert_eq!(chain.last().unwrap().trim(), roots.trim());
    }
}

fn metadata(key: &str, value: &str) -> Option<Struct> {
    let value = Value {
        kind: Some(Kind::StringValue(value.to_owned())),
    };
    Some(Struct {
        fields: [(key.to_owned(), value)].into(),
    })
}

#[tokio::test]
async fn a_refusal_is_an_answer_and_the_call_goes_on() {
    let good = SignRequest {
        csr: csr().into_bytes(),
        validity_duration: 3600,
        ..SignRequest::default()
    };
    let bad = [
        (b"no request".to_vec(), 3600, None, Code::InvalidArgument),
        (good.csr.clone(), -1, None, Code::InvalidArgument),
        (good.csr.clone(), 1 << 40, None, Code::InvalidArgument),
        (
            good.csr.clone(),
            60,
            metadata("CertSigner", "nobody"),
            Code::InvalidArgument,
        ),
        (
            good.csr.clone(),
            60,
            metadata("ImpersonatedIdentity", WEB),
            Code::Unauthenticated,
        ),
    ];
    let call = open(shared()).await;
    let mut expected = Vec::new();
    for (csr, validity_duration, metadata, code) in bad {
        let id = expected.len() as u64;
        let request = SignRequest {
            id,
            csr,
            validity_duration,
            metadata,
        };
        assert!(call.send(request).await);
        let id = id + 1;
        assert!(call.send(SignRequest { id, ..good.clone() }).await);
        expected.extend([code, Code::Ok]);
    }
    let (mut answers, end) = call.finish().await;
    end.unwrap();
    answers.sort_by_key(|(id, _)| *id);
    let codes: Vec<Code> = answers
        .iter()
        .map(|(_, answer)| answer.as_ref().err().map_or(Code::Ok, |(code, _)| *code))
        .collect();
    assert_eq!(codes, expected, "{answers:?}");
}

#[tokio::test]
async fn a_denial_has_its_details_and_its_record() {
    let home = Home::new();
    home.without_grants();
    let signer = home.start();
    let mut client = SigningServiceClient::new(Client::connect(&signer).await.channel());
    let request = SignRequest {
        id: 7,
        csr: csr().into_bytes(),
        ..SignRequest::default()
    };
    let mut call = tonic::Request::new(tokio_stream::once(request));
    let bearer = format!("Bearer {}", signer.token("default", "web"));
    call.metadata_mut()
        .insert("authorization", bearer.parse().unwrap());
    let answers = client.sign(call).await.unwrap().into_inner();
    let answers: Vec<_> = answers.collect::<Result<_, _>>().await.unwrap();
    let [answer] = &answers[..] else {
        panic!("{answers:?}")
    };
    let Some(sealwright_proto::signing::sign_response::Outcome::Error(status)) = &answer.outcome else {
        panic!("{answer:?}")
    };
    assert_eq!((answer.id, Code::from(status.code)), (7, Code::PermissionDenied));
    assert!(status.message.starts_with("NO_POLICY"), "{status:?}");
    let kinds: Vec<&str> = status
        .details
        .iter()
        .map(|detail| detail.type_url.as_str())
        .collect();
    assert!(
        kinds.contains(&"type.googleapis.com/google.rpc.ErrorInfo"),
        "{kinds:?}"
    );
    assert_eq!(signer.log_list(&["--identity", WEB]).len(), 1);
}

#[tokio::test]
async fn without_a_good_credential_no_call_is_opened() {
    let client = Client::connect(shared()).await;
    let none = Call::open_with(client.channel(), &[]).await.err().unwrap();
    let expired = shared().forge().with(json!({ "exp": 2_000_000 }));
    let expired = Call::open(&client, &expired).await.err().unwrap();
    for status in [none, expired] {
        assert_eq!(status.code(), Code::Unauthenticated, "{status}");
        assert_eq!(status.message(), "the request could not be authenticated");
    }
}

#[tokio::test]
async fn a_call_does_not_outlive_its_token() {
    let forge = shared().forge();
    let now = forge.claims()["iat"].as_i64().unwrap();
    let token = forge.with(json!({ "exp": now + 10 }));
    let client = Client::connect(shared()).await;
    let call = Call::open(&client, &token).await.unwrap();
    let (issued, status) = ask_until_the_end(call).await;
    assert!(issued > 0);
    assert_eq!(status.code(), Code::Unauthenticated, "{status}");
    assert!(status.message().contains("expired"), "{status}");
    let status = Call::open(&client, &token).await.err().unwrap();
    assert_eq!(status.code(), Code::Unauthenticated, "{status}");
}

#[tokio::test]
async fn a_call_does_not_outlive_its_client_certificate() {
    let own = Csr::ztunnel(WEB);
    let first = Client::connect(shared()).await;
    let token = shared().token("default", "web");
    let chain = first.create(&token, &own.pem, 10).await.unwrap();
    let presented = chain[..chain.len() - 1].concat();
    let client = Client::connect_with(shared(), &presented, &own.key.serialize_pem())
        .await
        .unwrap();
    let call = Call::open_with(client.channel(), &[]).await.unwrap();
    let (issued, status) = ask_until_the_end(call).await;
    assert!(issued > 0);
    assert_eq!(status.code(), Code::Unauthenticated, "{status}");
}

#[tokio::test]
async fn a_quiet_call_ends_with_its_token_too() {
    let (_home, signer) = with("", "request_timeout = \"1s\"");
    let forge = signer.forge();
    let now = forge.claims()["iat"].as_i64().unwrap();
    let token = forge.with(json!({ "exp": now + 8 }));
    let client = Client::connect(&signer).await;
    let mut call = Call::open(&client, &token).await.unwrap();
    let status = call.next().await.unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated, "{status}");
}

#[tokio::test]
async fn more_than_may_be_in_flight_wait_and_are_answered() {
    let (_home, signer) = with("max_in_flight = 2", "");
    let mut call = open(&signer).await;
    let sender = call.sender();
    let send = async {
        let csr = csr().into_bytes();
        for id in 0..60 {
            let request = SignRequest {
                id,
                csr: csr.clone(),
                ..SignRequest::default()
            };
            sender.send(request).await.unwrap();
        }
    };
    let read = async {
        for _ in 0..60 {
            drop(call.next().await.unwrap().unwrap().1.unwrap());
        }
    };
    tokio::join!(send, read);
    drop(sender);
    let (rest, end) = call.finish().await;
    assert!(rest.is_empty());
    end.unwrap();
}

#[tokio::test]
async fn who_does_not_read_is_not_read_from_and_then_ended() {
    let (_home, signer) = with("max_in_flight = 8", "request_timeout = \"2s\"");
    let call = open(&signer).await;
    // Far more than the windows of the connection and the places of the call hold.
    let sender = call.sender();
    let (pem, asked) = (csr().into_bytes(), 20_000);
    let sending = tokio::spawn(async move {
        for id in 0..asked {
            let request = SignRequest {
                id,
                csr: pem.clone(),
                ..SignRequest::default()
            };
            if sender.send(request).await.is_err() {
                return;
            }
        }
    });
    shows(&signer, "sealwright_signing_calls", 1).await;
    shows(&signer, "sealwright_signing_calls", 0).await;
    shows(&signer, "sealwright_buffered_bytes", 0).await;
    let (answers, end) = call.finish().await;
    sending.abort();
    let status = end.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded, "{status}");
    assert!((answers.len() as u64) < asked);
    // Others are served.
    let client = Client::connect(&signer).await;
    let token = signer.token("default", "web");
    client.create(&token, &csr(), 60).await.unwrap();
}

#[tokio::test]
async fn a_message_that_is_too_large_ends_the_call_after_the_answers() {
    for (bytes, code) in [
        (5 << 20, Code::ResourceExhausted),
        (300 << 10, Code::InvalidArgument),
    ] {
        let mut call = open(shared()).await;
        assert!(call.ask(1, &csr()).await);
        let large = SignRequest {
            id: 2,
            csr: vec![b'A'; bytes],
            ..SignRequest::default()
        };
        call.send(large).await;
        let (id, answer) = call.next().await.unwrap().unwrap();
        assert_eq!(id, 1);
        answer.unwrap();
        let status = call.next().await.unwrap_err();
        assert_eq!(status.code(), code, "{status}");
    }
}

#[tokio::test]
async fn a_client_that_vanishes_leaves_nothing_behind() {
    let (_home, signer) = with("", "");
    for _ in 0..5 {
        let call = open(&signer).await;
        for id in 0..50 {
            call.ask(id, &csr()).await;
        }
        // The connection goes with it.
        drop(call);
    }
    shows(&signer, "sealwright_signing_calls", 0).await;
    shows(&signer, "sealwright_buffered_bytes", 0).await;
    shows(&signer, "sealwright_connections", 0).await;
    let (answers, end) = {
        let call = open(&signer).await;
        call.ask(1, &csr()).await;
        call.finish().await
    };
    end.unwrap();
    answers.into_iter().for_each(|(_, answer)| drop(answer.unwrap()));
    assert_eq!(signer.stop(), 0);
}

#[tokio::test]
async fn calls_are_bounded_in_number_and_in_quiet() {
    let (_home, signer) = with("max_calls = 1\nidle_timeout = \"1s\"", "");
    let mut first = open(&signer).await;
    let client = Client::connect(&signer).await;
    let token = signer.token("default", "web");
    let status = Call::open(&client, &token).await.err().unwrap();
    assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
    assert!(status.get_details_retry_info().is_some(), "{status:?}");
    let status = first.next().await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded, "{status}");
    shows(&signer, "sealwright_signing_calls", 0).await;
    let call = Call::open(&client, &token).await.unwrap();
    call.ask(1, &csr()).await;
    call.finish().await.1.unwrap();
}

#[tokio::test]
async fn a_signer_that_stops_answers_what_it_accepted() {
    let (_home, signer) = with("", "");
    let mut call = open(&signer).await;
    for id in 0..20 {
        call.ask(id, &csr()).await;
    }
    drop(call.next().await.unwrap().unwrap().1.unwrap());
    signal(signer.pid(), Unix::TERM);
    let (answers, status) = {
        let mut answers = 1;
        loop {
            match call.next().await {
                Ok(Some((_, answer))) => {
                    answer.unwrap();
                    answers += 1;
                }
                Ok(None) => panic!("the call was not over"),
                Err(status) => break (answers, status),
            }
        }
    };
    assert_eq!(status.code(), Code::Unavailable, "{status}");
    let rows = signer.log_list(&["--identity", WEB]);
    assert_eq!(rows.len(), answers, "every record has its answer");
    assert_eq!(signer.stop(), 0);
}
