//! `policy push`: a module, then the revision that says what it is for.

use std::{path::Path, process::ExitCode};

use futures::stream;
use sealwright_identity::Digest;
use sealwright_policy_wasm::WIT_VERSION;
use sealwright_proto::policy::{OffsetRequest, PushRequest, UploadRequest, upload_request::Kind};
use sealwright_statement::policy::{Limits, Revision, Scope, canonical_settings};
use serde::Serialize;

use super::{
    super::{module, vectors},
    admission, wire,
};
use crate::{
    args::PushArgs,
    failure::{Class, Failure, OrFail},
    output::{self, Output},
    signing,
};

/// What goes into one message.
const PIECE: usize = 256 << 10;

#[derive(Serialize)]
struct Pushed {
    revision: String,
    module: String,
    report: Option<String>,
}

pub(super) async fn run(args: &PushArgs, output: Output) -> Result<ExitCode, Failure> {
    let component = module::read(&args.module)?;
    let source = args.source.as_deref().map(read).transpose()?;
    let settings = vectors::settings(args.settings.as_deref())?;
    let mut revision = wire::seal(Revision {
        policy: args.name.clone(),
        module: Digest::of(&component),
        source: source.as_deref().map(Digest::of),
        settings: canonical_settings(&settings).map_err(|problem| Failure::text(Class::Input, problem))?,
        scope: Scope {
            trust_domain: args.trust_domain.clone(),
            issuers: args.issuer.clone(),
            namespaces: args.namespace.clone(),
            service_accounts: args.service_account.clone(),
        }
        .sorted(),
        wit: WIT_VERSION.to_owned(),
        limits: Limits {
            fuel: args.fuel,
            memory: args.memory,
        },
    })?;
    if let Some(key) = &args.sign_with {
        revision = signing::sign(revision, std::slice::from_ref(key), &args.tokens).await?;
    }
    let report = match args.report.as_deref() {
        None if args.no_report => String::new(),
        Some(path) => String::from_utf8(read(path)?).or_fail_doing(Class::Input, path.display())?,
        None => admit(&component, source.as_deref(), &revision.statement)?,
    };

    let mut client = wire::connect(&args.signer).await?;
    upload(&mut client, Kind::Module, component).await?;
    if let Some(source) = source {
        upload(&mut client, Kind::Source, source).await?;
    }
    let request = PushRequest {
        revision: revision.to_string(),
        report,
    };
    let pushed = client.push(request).await.map_err(wire::refused)?.into_inner();
    let pushed = Pushed {
        revision: pushed.digest,
        module: revision.statement.module.to_string(),
        report: Some(pushed.report_digest).filter(|digest| !digest.is_empty()),
    };
    match output {
        Output::Json => output::json(&pushed)?,
        Output::Table => output::table(
            &[],
            [
                vec!["revision".to_owned(), pushed.revision],
                vec!["module".to_owned(), pushed.module],
                vec![
                    "report".to_owned(),
                    pushed.report.unwrap_or_else(|| "none".to_owned()),
                ],
            ],
        )?,
    }
    Ok(ExitCode::SUCCESS)
}

/// The report, when nothing speaks against the module.
fn admit(component: &[u8], source: Option<&[u8]>, revision: &Revision) -> Result<String, Failure> {
    let report = admission::judge(component, source, revision)?;
    for finding in report.warnings.iter().chain(&report.refusals) {
        output::notice(&serde_json::to_string(finding).or_fail(Class::Internal)?);
    }
    match report.admitted {
        true => Ok(report.canonical()),
        false => Err(Failure::text(
            Class::Denied,
            "the module is not admitted: nothing was pushed",
        )),
    }
}

/// Sends what is not there yet.
async fn upload(client: &mut wire::Client, kind: Kind, bytes: Vec<u8>) -> Result<(), Failure> {
    let (digest, size) = (Digest::of(&bytes).to_string(), bytes.len() as u64);
    let question = OffsetRequest {
        digest: digest.clone(),
        size,
        kind: kind.into(),
    };
    let there = client.offset(question).await.map_err(wire::refused)?.into_inner();
    if there.complete {
        return Ok(());
    }
    let from = usize::try_from(there.offset).or_fail(Class::Internal)?;
    let rest = bytes.get(from..).unwrap_or_default();
    let pieces: Vec<UploadRequest> = rest
        .chunks(PIECE)
        .map(|data| UploadRequest {
            kind: kind.into(),
            digest: digest.clone(),
            size,
            offset: there.offset,
            data: data.to_vec().into(),
        })
        .collect();
    client.upload(stream::iter(pieces)).await.map_err(wire::refused)?;
    Ok(())
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    std::fs::read(path).or_fail_doing(Class::Usage, format!("cannot read {}", path.display()))
}
