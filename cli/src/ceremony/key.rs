//! `sealwright ceremony new-key`.

use std::{fs::OpenOptions, io::Write, os::unix::fs::OpenOptionsExt, process::ExitCode};

use sealwright_identity::Digest;
use sealwright_statement::{FileSigner, KeyKind, Signer};
use serde::Serialize;

use crate::{
    args::{KeyKindArg, NewKeyArgs},
    failure::{Class, Failure, OrFail},
    output::{self, Output},
};

#[derive(Serialize)]
struct Made {
    id: Digest,
    public_key: String,
}

pub(super) fn run(args: &NewKeyArgs, output: Output) -> Result<ExitCode, Failure> {
    let kind = match args.kind {
        KeyKindArg::P256 => KeyKind::P256,
        KeyKindArg::P384 => KeyKind::P384,
        KeyKindArg::Ed25519 => KeyKind::Ed25519,
    };
    let (signer, pem) = FileSigner::generate(kind).or_fail(Class::Internal)?;
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&args.out)
        .and_then(|mut file| {
            file.write_all(pem.as_bytes())?;
            file.sync_all()
        })
        .or_fail_doing(Class::Usage, format!("cannot write {}", args.out.display()))?;
    let made = Made {
        id: signer.public_key().id(),
        public_key: signer.public_key().to_pem(),
    };
    match output {
        Output::Json => output::json(&made)?,
        Output::Table => output::line(made.public_key.trim_end())?,
    }
    Ok(ExitCode::SUCCESS)
}
