//! The call to the signer's policy service.

use std::{future::Future, path::Path, process::ExitCode, time::Duration};

use sealwright_identity::Digest;
use sealwright_proto::policy::{ListRequest, ListResponse, policy_service_client::PolicyServiceClient};
use sealwright_statement::{Envelope, Sealed, Signed, Statement, words::words};
use tonic::{Status, transport::Channel};

use crate::{
    args::SignerArgs,
    failure::{Class, Failure, OrFail},
    issue::call::{self, Credentials},
};

pub(super) type Client = PolicyServiceClient<Channel>;

/// A whole set may be compiled in one call, or a module of 20 MB be judged; the signer's own bound is 10 minutes, too.
const CALL: Duration = Duration::from_secs(600);
/// A review has every revision of a set in it.
const MAX_ANSWER_BYTES: usize = 64 << 20;

pub(super) fn block_on(call: impl Future<Output = Result<ExitCode, Failure>>) -> Result<ExitCode, Failure> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .or_fail(Class::Internal)?
        .block_on(call)
}

pub(super) async fn connect(args: &SignerArgs) -> Result<Client, Failure> {
    let credentials = Credentials::certificate(&args.ca_file, &args.cert, &args.key)?;
    let channel = call::connect_for(&args.server, &credentials, CALL).await?;
    Ok(Client::new(channel).max_decoding_message_size(MAX_ANSWER_BYTES))
}

pub(super) fn refused(status: Status) -> Failure {
    call::refusal(&status)
}

pub(super) async fn list(client: &mut Client) -> Result<ListResponse, Failure> {
    Ok(client.list(ListRequest {}).await.map_err(refused)?.into_inner())
}

/// A statement that the signer sent.
pub(super) fn statement<T: Statement>(armoured: &str) -> Result<Signed<T>, Failure> {
    Envelope::parse(armoured)
        .and_then(Envelope::open)
        .or_fail_doing(Class::Input, format!("the signer's {} cannot be read", T::TYPE))
}

/// A statement in a file.
pub(super) fn file<T: Statement>(path: &Path) -> Result<Signed<T>, Failure> {
    let text = std::fs::read_to_string(path)
        .or_fail_doing(Class::Usage, format!("cannot read {}", path.display()))?;
    Envelope::parse(&text)
        .and_then(Envelope::open)
        .or_fail_doing(Class::Input, format!("{} is no {}", path.display(), T::TYPE))
}

pub(super) fn seal<T: Statement>(statement: T) -> Result<Signed<T>, Failure> {
    Ok(Signed::unsigned(Sealed::new(statement).or_fail(Class::Input)?))
}

pub(super) fn digest(text: &str) -> Result<Digest, Failure> {
    text.parse()
        .or_fail_doing(Class::Input, "the signer names something by no digest")
}

/// A digest in words, in lines that fit on a terminal and can be read aloud.
pub(super) fn spoken(digest: &Digest) -> String {
    lines_of_words(&words(digest).collect::<Vec<_>>().join(" "))
}

/// Eight in a line.
pub(super) fn lines_of_words(words: &str) -> String {
    let words: Vec<&str> = words.split(' ').collect();
    let lines: Vec<String> = words.chunks(8).map(|line| line.join(" ")).collect();
    lines.join("\n")
}
