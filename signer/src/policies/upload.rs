//! Blobs on their way to the gate, piece by piece: nothing is kept here.

use std::time::Duration;

use sealwright_identity::Digest;
use sealwright_proto::gate::{PolicyUpload, PolicyUploaded, policy_upload};
use sealwright_proto::policy::{
    OffsetRequest, OffsetResponse, UploadRequest, UploadResponse, upload_request::Kind,
};
use tokio::time::timeout;
use tonic::Streaming;

use super::error::Refusal;
use super::{MAX_BLOB_BYTES, PolicyAdministration, deadline, digest};

/// What the gate takes at once.
const PIECE: usize = 512 << 10;
/// A client that sends nothing for so long is gone.
const IDLE: Duration = Duration::from_secs(30);

/// How much of a blob is there.
pub(super) async fn offset(
    service: &PolicyAdministration,
    request: &OffsetRequest,
) -> Result<OffsetResponse, Refusal> {
    let there = Blob::new(request.kind(), &request.digest, request.size)?
        .send(service, 0, &[])
        .await?;
    Ok(OffsetResponse {
        offset: there.received,
        complete: there.complete,
    })
}

/// Takes a blob.
pub(super) async fn upload(
    service: &PolicyAdministration,
    mut stream: Streaming<UploadRequest>,
) -> Result<UploadResponse, Refusal> {
    let first = next(&mut stream)
        .await?
        .ok_or_else(|| Refusal::Incomplete("the stream ended before it began".to_owned()))?;
    let blob = Blob::new(first.kind(), &first.digest, first.size)?;
    let there = blob.send(service, 0, &[]).await?;
    if there.complete {
        return Ok(blob.done());
    }
    if first.offset != there.received {
        return Err(Refusal::Invalid(format!(
            "{} bytes are here: go on at that offset, not at {}",
            there.received, first.offset
        )));
    }
    let mut last = there;
    let mut message = Some(first);
    while let Some(UploadRequest { data, .. }) = message {
        let most = blob.size - last.received;
        if u64::try_from(data.len()).is_ok_and(|bytes| bytes > most) {
            return Err(Refusal::TooLarge(format!(
                "more bytes came than the {} that were announced",
                blob.size
            )));
        }
        for piece in data.chunks(PIECE) {
            last = blob.send(service, last.received, piece).await?;
        }
        message = next(&mut stream).await?;
    }
    if last.complete {
        return Ok(blob.done());
    }
    Err(Refusal::Incomplete(format!(
        "{} of {} bytes came; go on at that offset",
        last.received, blob.size
    )))
}

/// Hands a report over.
pub(super) async fn report(service: &PolicyAdministration, text: &str) -> Result<Digest, Refusal> {
    let bytes = text.as_bytes();
    let blob = Blob {
        kind: policy_upload::Kind::Report,
        digest: Digest::of(bytes),
        size: u64::try_from(bytes.len()).unwrap_or(u64::MAX),
    };
    let mut there = blob.send(service, 0, &[]).await?;
    while !there.complete {
        let from = usize::try_from(there.received).unwrap_or(usize::MAX);
        let piece = bytes.get(from..).unwrap_or_default();
        let piece = piece.get(..PIECE).unwrap_or(piece);
        if piece.is_empty() {
            return Err(Refusal::Incomplete("the report did not arrive whole".to_owned()));
        }
        there = blob.send(service, there.received, piece).await?;
    }
    Ok(blob.digest)
}

struct Blob {
    kind: policy_upload::Kind,
    digest: Digest,
    size: u64,
}

impl Blob {
    fn new(kind: Kind, name: &str, size: u64) -> Result<Self, Refusal> {
        if size == 0 {
            return Err(Refusal::Invalid(
                "an upload says its size beforehand, above 0".to_owned(),
            ));
        }
        if size > MAX_BLOB_BYTES {
            return Err(Refusal::TooLarge(format!(
                "{size} bytes are more than the {MAX_BLOB_BYTES} that a policy may have"
            )));
        }
        Ok(Self {
            kind: match kind {
                Kind::Module => policy_upload::Kind::Module,
                Kind::Source => policy_upload::Kind::Source,
            },
            digest: digest(name)?,
            size,
        })
    }

    async fn send(
        &self,
        service: &PolicyAdministration,
        offset: u64,
        data: &[u8],
    ) -> Result<PolicyUploaded, Refusal> {
        let piece = PolicyUpload {
            kind: self.kind.into(),
            digest: self.digest.to_string(),
            size: self.size,
            offset,
            data: data.to_vec().into(),
        };
        Ok(service.gate.policy_upload(piece, deadline()).await?)
    }

    fn done(&self) -> UploadResponse {
        UploadResponse {
            digest: self.digest.to_string(),
            size: self.size,
        }
    }
}

async fn next(stream: &mut Streaming<UploadRequest>) -> Result<Option<UploadRequest>, Refusal> {
    match timeout(IDLE, stream.message()).await {
        Ok(Ok(message)) => Ok(message),
        Ok(Err(status)) => Err(Refusal::Incomplete(status.message().to_owned())),
        Err(_idle) => Err(Refusal::Incomplete(format!(
            "nothing came for {} s",
            IDLE.as_secs()
        ))),
    }
}
