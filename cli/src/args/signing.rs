//! The arguments of everything that signs statements, and of making keys for it.

use std::{ffi::OsStr, path::PathBuf};

use clap::{
    Arg, Args, Command, ValueEnum,
    builder::TypedValueParser,
    error::{Error, ErrorKind},
};
use sealwright_hsm::{PinSource, Pkcs11Uri};
use sealwright_identity::HumanDuration;

use crate::text;

/// A key that signs statements: `FILE`, or `pkcs11:…` on a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SigningKey {
    File(PathBuf),
    Token(Box<Pkcs11Uri>),
}

/// How keys on tokens are reached.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Keys on tokens")]
pub(crate) struct TokenUse {
    /// The PKCS#11 module; loaded only for a key on a token.
    #[arg(long, value_name = "FILE", env = "SEALWRIGHT_PKCS11_MODULE")]
    pub(crate) pkcs11_module: Option<PathBuf>,
    /// Where a token's user PIN comes from, by the token's label [default: a prompt].
    #[arg(long, value_name = "TOKEN=file:PATH|fd:N", value_parser = Discreet(pin))]
    pub(crate) pin: Vec<PinArg>,
    /// The folder of the memory of refused PINs [default: ~/.local/state/sealwright].
    #[arg(long, value_name = "DIR")]
    pub(crate) state: Option<PathBuf>,
    /// How long a token may take for an answer.
    #[arg(long, value_name = "DURATION", default_value = "30s")]
    pub(crate) token_deadline: HumanDuration,
}

/// `sealwright policy keygen`, `sealwright ceremony new-key`.
#[derive(Debug, Args)]
#[command(after_help = text::NEW_KEY)]
pub(crate) struct NewKeyArgs {
    /// Its kind.
    #[arg(long, value_enum, value_name = "KIND", default_value = "ed25519")]
    pub(crate) kind: KeyKindArg,
    /// A new file for the private key (0600); the public half goes to the same name with `.pub`. With --on, only that.
    #[arg(long, value_name = "FILE", required_unless_present = "on")]
    pub(crate) out: Option<PathBuf>,
    /// Make it on this token, which it cannot leave; `object=` is its label there [default: statement].
    #[arg(long, value_name = "pkcs11:token=LABEL", value_parser = Discreet(uri))]
    pub(crate) on: Option<Pkcs11Uri>,
    #[command(flatten)]
    pub(crate) tokens: TokenUse,
}

/// Kinds of keys that people sign with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum KeyKindArg {
    Ed25519,
    P256,
    P384,
}

/// A token and a source of its PIN.
#[derive(Clone, Debug)]
pub(crate) struct PinArg {
    pub(crate) token: String,
    pub(crate) source: PinSource,
}

/// Reads a value that may be, or hold, a PIN that somebody typed where none belongs: an error does not repeat it.
#[derive(Clone)]
pub(crate) struct Discreet<F>(pub(crate) F);

impl<T, F> TypedValueParser for Discreet<F>
where
    T: Clone + Send + Sync + 'static,
    F: Fn(&OsStr) -> Result<T, String> + Clone + Send + Sync + 'static,
{
    type Value = T;

    fn parse_ref(&self, command: &Command, arg: Option<&Arg>, value: &OsStr) -> Result<T, Error> {
        let name = arg.map(ToString::to_string).unwrap_or_default();
        self.0(value).map_err(|problem| {
            let text = format!("the value of '{name}' cannot be used: {problem}\n");
            Error::raw(ErrorKind::ValueValidation, text).with_cmd(command)
        })
    }
}

/// Reads `TOKEN=file:PATH` or `TOKEN=fd:N`.
pub(crate) fn pin(value: &OsStr) -> Result<PinArg, String> {
    let form = || "write TOKEN=file:PATH or TOKEN=fd:N; a PIN never stands on the command line".to_owned();
    let (token, source) = value
        .to_str()
        .and_then(|text| text.split_once('='))
        .ok_or_else(form)?;
    let source = match source.split_once(':') {
        Some(("file", path)) if !path.is_empty() => PinSource::File(path.into()),
        Some(("fd", number)) => PinSource::Fd(number.parse().map_err(|_| form())?),
        _ => return Err(form()),
    };
    Ok(PinArg {
        token: token.to_owned(),
        source,
    })
}

/// Reads a key's name: a PKCS#11 URI begins with its scheme, all else is a file.
pub(crate) fn signing_key(value: &OsStr) -> Result<SigningKey, String> {
    match value.to_str() {
        Some(text) if is_uri(text) => Ok(SigningKey::Token(Box::new(uri(value)?))),
        _ if value.is_empty() => Err("it names no file".to_owned()),
        _ => Ok(SigningKey::File(value.into())),
    }
}

fn uri(value: &OsStr) -> Result<Pkcs11Uri, String> {
    let text = value.to_str().ok_or("it is not UTF-8")?;
    // A query attribute may be a PIN or a module, which have options of their own.
    if is_uri(text) && text.contains('?') {
        return Err(
            "a PKCS#11 URI here has no query: the PIN comes by --pin, the module by --pkcs11-module"
                .to_owned(),
        );
    }
    text.parse::<Pkcs11Uri>().map_err(|error| error.to_string())
}

fn is_uri(text: &str) -> bool {
    text.get(..7)
        .is_some_and(|scheme| scheme.eq_ignore_ascii_case("pkcs11:"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_a_file_or_a_uri() {
        let key = |text: &str| signing_key(text.as_ref());
        assert_eq!(key("ann.key"), Ok(SigningKey::File("ann.key".into())));
        assert_eq!(key("./pkcs11:a"), Ok(SigningKey::File("./pkcs11:a".into())));
        for text in ["pkcs11:token=ann;object=statement", "PKCS11:object=statement"] {
            assert!(matches!(key(text), Ok(SigningKey::Token(_))), "{text}");
        }
        for text in [
            "",
            "pkcs11:token=a;1234",
            "pkcs11:token=a?pin-value=1234",
            "pkcs11:x-y=a",
        ] {
            assert!(!key(text).unwrap_err().contains("1234"), "{text}");
        }
    }

    #[test]
    fn a_pin_is_named_and_never_typed() {
        assert!(pin("ann=file:/run/pin".as_ref()).is_ok());
        assert!(pin("ann=fd:3".as_ref()).is_ok());
        for text in ["1234", "ann=1234", "ann=pin:1234", "ann=file:", "ann=fd:1234x"] {
            assert!(!pin(text.as_ref()).unwrap_err().contains("1234"), "{text}");
        }
    }
}
