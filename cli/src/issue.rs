//! `sealwright issue`: a certificate from a signer, as a workload's agent gets it.
//!
//! The key is made here and never leaves. What the signer answers is verified before anything is
//! written, and three files appear as one set or not at all.

pub(crate) mod call;
mod handshake;
pub(crate) mod key;
mod verify;
mod write;

use std::{path::PathBuf, process::ExitCode};

use sealwright_identity::{Clock, SystemClock};
use serde::Serialize;

use crate::{
    args::IssueArgs,
    failure::{Class, Failure, OrFail},
    output::{self, Output},
    progress::Spinner,
};

/// What was issued, and where it lies.
#[derive(Debug, Serialize)]
struct Report {
    serial: String,
    identity: String,
    not_before: String,
    not_after: String,
    files: Files,
}

#[derive(Debug, Serialize)]
struct Files {
    key: PathBuf,
    cert_chain: PathBuf,
    root_cert: PathBuf,
}

pub(crate) fn run(args: &IssueArgs, output: Output) -> Result<ExitCode, Failure> {
    let place = write::Place::new(&args.out)?;
    let spinner = Spinner::start("making a key");
    let key = key::WorkloadKey::generate(args.key_type)?;
    spinner.say(format!("asking {}", args.server));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .or_fail(Class::Internal)?;
    let answer = runtime.block_on(call::create_certificate(args, &key.csr_pem()?))?;
    let issued = verify::verify(&answer, key.spki_der(), SystemClock.now())?;
    place.put(&key.pem(), &issued.chain_pem, &issued.roots_pem)?;
    spinner.done();

    let report = Report {
        serial: issued.serial,
        identity: issued.identity,
        not_before: issued.not_before,
        not_after: issued.not_after,
        files: Files {
            key: place.path().join(write::KEY),
            cert_chain: place.path().join(write::CHAIN),
            root_cert: place.path().join(write::ROOTS),
        },
    };
    match output {
        Output::Json => output::json(&report)?,
        Output::Table => output::table(
            &[],
            [
                vec!["identity".to_owned(), report.identity],
                vec!["serial".to_owned(), report.serial],
                vec!["not before".to_owned(), report.not_before],
                vec!["not after".to_owned(), report.not_after],
                vec!["key".to_owned(), report.files.key.display().to_string()],
                vec!["chain".to_owned(), report.files.cert_chain.display().to_string()],
                vec!["roots".to_owned(), report.files.root_cert.display().to_string()],
            ],
        )?,
    }
    Ok(ExitCode::SUCCESS)
}
