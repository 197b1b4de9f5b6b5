//! Signing statements, for every command that does: with a key in a file, or on a PKCS#11 token.

mod new_key;

use std::{env, fs, path::PathBuf};

use sealwright_hsm::{
    Error, KeySelector, Pin, PinError, PinSource, Pkcs11Uri, TokenSelector,
    statement::{PersonalToken, TokenSigner},
};
use sealwright_statement::{FileSigner, PublicKey, Signed, Signer, Statement, policy::Name};

pub(crate) use self::new_key::make;
use crate::{
    args::{SigningKey, TokenUse},
    failure::{Class, Failure, OrFail},
};

/// Reads `NAME=FILE`: somebody, and a public key of theirs in PEM.
pub(crate) fn named_key(entry: &str) -> Result<(Name, PublicKey), Failure> {
    let (name, file) = entry
        .split_once('=')
        .ok_or_else(|| Failure::text(Class::Usage, format!("{entry:?} is not NAME=FILE")))?;
    let name = name.parse().or_fail(Class::Usage)?;
    let text = fs::read_to_string(file).or_fail_doing(Class::Usage, format!("cannot read {file}"))?;
    let key = PublicKey::from_pem(&text).or_fail_doing(Class::Input, format!("{file} is no public key"))?;
    Ok((name, key))
}

/// Opens a key. On a token that reads the PIN, perhaps from a person, and logs in, once.
pub(crate) fn open(key: &SigningKey, tokens: &TokenUse) -> Result<Box<dyn Signer>, Failure> {
    match key {
        SigningKey::File(path) => Ok(Box::new(FileSigner::open(path).or_fail(Class::Usage)?)),
        SigningKey::Token(uri) => {
            let selector = KeySelector::try_from((**uri).clone()).map_err(fail)?;
            let token = personal(uri, tokens)?;
            let signer = TokenSigner::open(&token, &selector, |label| pin(tokens, label)).map_err(fail)?;
            Ok(Box::new(signer))
        }
    }
}

/// Signs with one key after the other, off the threads of the runtime: each may wait for a person and for a token.
pub(crate) async fn sign<T: Statement + Send + Sync + 'static>(
    mut statement: Signed<T>,
    keys: &[SigningKey],
    tokens: &TokenUse,
) -> Result<Signed<T>, Failure> {
    let (keys, tokens) = (keys.to_vec(), tokens.clone());
    let signing = move || {
        for key in &keys {
            let class = match key {
                SigningKey::File(_) => Class::Internal,
                SigningKey::Token(_) => Class::Unavailable,
            };
            statement.sign(&*open(key, &tokens)?).or_fail(class)?;
        }
        Ok(statement)
    };
    tokio::task::spawn_blocking(signing)
        .await
        .or_fail(Class::Internal)?
}

/// The token of a URI.
fn personal(uri: &Pkcs11Uri, tokens: &TokenUse) -> Result<PersonalToken, Failure> {
    let module = tokens.pkcs11_module.clone().ok_or_else(|| {
        Failure::text(
            Class::Usage,
            "a key on a token needs --pkcs11-module, the library of the token's vendor",
        )
    })?;
    Ok(PersonalToken {
        module,
        token: TokenSelector::Uri(uri.clone()),
        memory: memory(tokens)?,
        limit: tokens.token_deadline.get(),
    })
}

/// Where refused PINs are remembered.
fn memory(tokens: &TokenUse) -> Result<PathBuf, Failure> {
    let absolute = |name: &str| {
        env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    tokens
        .state
        .clone()
        .or_else(|| Some(absolute("XDG_STATE_HOME")?.join("sealwright")))
        .or_else(|| Some(absolute("HOME")?.join(".local/state/sealwright")))
        .ok_or_else(|| {
            let problem = "there is no home folder to remember a refused PIN in: name a folder by --state";
            Failure::text(Class::Usage, problem)
        })
}

fn pin(tokens: &TokenUse, label: &str) -> Result<Pin, PinError> {
    let named = tokens.pin.iter().find(|pin| pin.token == label);
    named
        .map_or(PinSource::Prompt, |pin| pin.source.clone())
        .read(label)
}

fn fail(error: Error) -> Failure {
    let class = match &error {
        error if error.is_pin() => Class::State,
        Error::Module(_)
        | Error::Call { .. }
        | Error::TokenAbsent { .. }
        | Error::Silent { .. }
        | Error::NoThread { .. } => Class::Unavailable,
        Error::KeyNotForStatements { .. } | Error::KeyUnguarded { .. } | Error::CeremonyToken { .. } => {
            Class::Denied
        }
        _ => Class::Usage,
    };
    Failure::new(class, error)
}
