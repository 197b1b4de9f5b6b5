//! Making a key that a person signs statements with: `policy keygen`, `ceremony new-key`.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use sealwright_hsm::{
    Pkcs11Uri,
    statement::{NewKey, make_key},
};
use sealwright_identity::Digest;
use sealwright_statement::{FileSigner, KeyKind, PublicKey, Signer as _};
use serde::Serialize;

use super::{fail, personal, pin};
use crate::{
    args::{KeyKindArg, NewKeyArgs},
    failure::{Class, Failure, OrFail},
    files,
    output::{self, Output},
};

/// The label of a key on a token, where none is given.
const LABEL: &str = "statement";

#[derive(Serialize)]
struct Made {
    /// What `--sign-with` takes.
    key: String,
    /// The file of the public half.
    #[serde(skip_serializing_if = "Option::is_none")]
    public: Option<PathBuf>,
    id: Digest,
    public_key: String,
}

pub(crate) fn make(args: &NewKeyArgs, output: Output) -> Result<ExitCode, Failure> {
    let kind = match args.kind {
        KeyKindArg::Ed25519 => KeyKind::Ed25519,
        KeyKindArg::P256 => KeyKind::P256,
        KeyKindArg::P384 => KeyKind::P384,
    };
    let public = args.out.as_deref().map(public_of);
    if let Some(there) = public.as_deref().filter(|path| path.exists()) {
        let problem = format!(
            "{} is there already, and nothing is written over",
            there.display()
        );
        return Err(Failure::text(Class::Usage, problem));
    }
    let (key, half) = match (&args.on, &args.out) {
        (Some(on), _) => on_token(args, on, kind)?,
        (None, Some(out)) => in_file(out, kind)?,
        (None, None) => {
            return Err(Failure::text(
                Class::Usage,
                "--out or --on says where the key is to be",
            ));
        }
    };
    if let Some(public) = &public {
        files::create(public, half.to_pem().as_bytes(), 0o644)?;
    }
    let made = Made {
        key,
        public,
        id: half.id(),
        public_key: half.to_pem(),
    };
    match output {
        Output::Json => output::json(&made)?,
        Output::Table => {
            let mut rows = vec![vec!["key".to_owned(), made.key]];
            if let Some(public) = made.public {
                rows.push(vec!["public half".to_owned(), public.display().to_string()]);
            }
            rows.push(vec!["id".to_owned(), made.id.to_string()]);
            output::table(&[], rows)?;
            output::line(made.public_key.trim_end())?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn in_file(out: &Path, kind: KeyKind) -> Result<(String, PublicKey), Failure> {
    let (signer, pem) = FileSigner::generate(kind).or_fail(Class::Internal)?;
    files::create(out, pem.as_bytes(), 0o600)?;
    Ok((out.display().to_string(), signer.public_key().clone()))
}

fn on_token(args: &NewKeyArgs, on: &Pkcs11Uri, kind: KeyKind) -> Result<(String, PublicKey), Failure> {
    if on.id.is_some() || on.object_type.is_some() {
        let problem = "the URI of --on names a token and perhaps a label (object=): the id is drawn";
        return Err(Failure::text(Class::Usage, problem));
    }
    let mut token = on.clone();
    let new = NewKey {
        label: token
            .object
            .take()
            .filter(|label| !label.is_empty())
            .unwrap_or_else(|| LABEL.to_owned()),
        kind,
    };
    let token = personal(&token, &args.tokens)?;
    let made = make_key(&token, &new, |label| pin(&args.tokens, label)).map_err(fail)?;
    Ok((made.uri.to_string(), made.public))
}

fn public_of(out: &Path) -> PathBuf {
    let mut public = out.to_owned().into_os_string();
    public.push(".pub");
    public.into()
}
