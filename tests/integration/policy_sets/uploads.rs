//! Uploads that are too large, cut short, or something else than they say.

use sealwright_identity::Digest;
use sealwright_proto::policy::{
    OffsetRequest, PushRequest, UploadRequest, UploadResponse, policy_service_client::PolicyServiceClient,
};
use tonic::{Code, Status, transport::Channel};

use super::people::Deployment;

type Service = PolicyServiceClient<Channel>;

async fn send(
    service: &mut Service,
    digest: &str,
    size: u64,
    offset: u64,
    pieces: &[&[u8]],
) -> Result<UploadResponse, Status> {
    let messages: Vec<UploadRequest> = pieces
        .iter()
        .map(|data| UploadRequest {
            digest: digest.to_owned(),
            size,
            offset,
            data: data.to_vec().into(),
            ..UploadRequest::default()
        })
        .collect();
    let sent = service.upload(tokio_stream::iter(messages)).await?;
    Ok(sent.into_inner())
}

async fn there(service: &mut Service, digest: &str, size: u64) -> (u64, bool) {
    let question = OffsetRequest {
        digest: digest.to_owned(),
        size,
        ..OffsetRequest::default()
    };
    let answer = service.offset(question).await.unwrap().into_inner();
    (answer.offset, answer.complete)
}

#[tokio::test]
async fn what_is_uploaded_is_bounded_whole_and_what_it_says() {
    let deployment = Deployment::new().await;
    let mut service = PolicyServiceClient::new(deployment.channel().await);
    let name = |bytes: &[u8]| Digest::of(bytes).to_string();

    // A gigabyte is refused by its size, before a byte of it is kept.
    let large = send(&mut service, &name(b"large"), 1 << 30, 0, &[b"x"])
        .await
        .unwrap_err();
    assert_eq!(large.code(), Code::ResourceExhausted, "{large}");
    // And so is one that says less.
    let more = [7; 5000];
    let liar = send(&mut service, &name(&more), 4096, 0, &[&more])
        .await
        .unwrap_err();
    assert_eq!(liar.code(), Code::ResourceExhausted, "{liar}");

    // What was cut short goes on where it ended, and nowhere else.
    let module = std::fs::read(deployment.home.file("policies/baseline.wasm")).unwrap();
    let mut other = module.clone();
    other.extend([0, 3, 1, b'n', 1]);
    let (digest, size) = (name(&other), other.len() as u64);
    let cut = send(&mut service, &digest, size, 0, &[&other[..1000]])
        .await
        .unwrap_err();
    assert_eq!(cut.code(), Code::Aborted, "{cut}");
    assert_eq!(there(&mut service, &digest, size).await, (1000, false));
    let elsewhere = send(&mut service, &digest, size, 0, &[&other]).await.unwrap_err();
    assert_eq!(elsewhere.code(), Code::InvalidArgument, "{elsewhere}");
    send(&mut service, &digest, size, 1000, &[&other[1000..]])
        .await
        .unwrap();
    assert_eq!(there(&mut service, &digest, size).await, (size, true));
    // Once more costs nothing.
    send(&mut service, &digest, size, 0, &[]).await.unwrap_err();
    send(&mut service, &digest, size, 0, &[b""]).await.unwrap();

    // Other bytes than the name says are thrown away.
    let wrong = name(b"something else");
    let refused = send(&mut service, &wrong, 4, 0, &[b"what"]).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
    assert_eq!(there(&mut service, &wrong, 4).await, (0, false));

    // A text that is no statement.
    let request = PushRequest {
        revision: "-----BEGIN".to_owned(),
        report: String::new(),
    };
    let refused = service.push(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
}
