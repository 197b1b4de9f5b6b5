//! A person's key on a token: it signs statements, and nothing else.
//!
//! A person's key and a CA's key are the same kind of object in PKCS#11, and a URI may name either. So a key says by
//! itself what it is for: the first bytes of its `CKA_ID` (`MARK`), which are written when it is made and cannot be
//! changed, as `CKA_MODIFIABLE` is false. Every key that is found, by whatever label or id, is looked at once, in
//! `check_use`:
//!
//! * a statement is signed only by a key with the mark, hence never by a CA's key: a ceremony draws its keys' ids, and
//!   nothing here gives the mark to a key for certificates;
//! * a certificate, a request or a probe is signed only by a key without it, hence never by a person's key;
//! * the bytes differ, too: a statement begins with its type, and no DER begins so ([`crate::Signable`]).
//!
//! A person's key must say on every use that it can sign, do nothing else, and never leave its token
//! ([`crate::ceremony::KeyOrder`]): what the token does not tell is not assumed. On a token that has seen a ceremony no
//! person's key is made or used, as one PIN would open both.
//!
//! Unlike the gate, a person's program makes few calls and waits for each: on a thread of its own, for a limited time.

mod make;
mod signer;

use std::{
    fs, io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

pub use self::{
    make::{MadeKey, NewKey, make_key},
    signer::TokenSigner,
};
use crate::{
    ceremony::{Expected, Reported, officer},
    config::TokenSelector,
    error::Error,
    key::{KeyPurpose, KeySelector},
    metrics::Metrics,
    module::{Module, ModuleSession},
    order,
    pin::{Pin, PinError},
    slots::Found,
    token::{self, Token},
    within::within,
};

/// How the `CKA_ID` of a person's key begins. With as many random bytes after it, it has the twenty bytes that are the
/// most usual length of an id.
const MARK: &[u8] = b"statement/";

/// A token that a person carries, and how it is used.
#[derive(Clone, Debug)]
pub struct PersonalToken {
    /// The vendor's shared library.
    pub module: PathBuf,
    /// Which of the module's tokens.
    pub token: TokenSelector,
    /// The folder of the memory of refused PINs; made where it is missing (0700).
    pub memory: PathBuf,
    /// How long the token may take for an answer.
    pub limit: Duration,
}

impl PersonalToken {
    /// Finds the token, asks for its PIN by its label, and logs in, once; then does something with it.
    fn log_in<T: Send + 'static>(
        &self,
        pin: impl FnOnce(&str) -> Result<Pin, PinError>,
        doing: &'static str,
        then: impl FnOnce(Token) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let (module, found) = self.find()?;
        let label = &found.info.label;
        let memory = remember(&self.memory, &found.info.serial)?;
        let pin = pin(label).map_err(|source| Error::Pin {
            token: label.clone(),
            source,
        })?;
        within(self.limit, doing, move || {
            then(Token::log_in_to(module, found, pin, &memory)?)
        })
    }

    fn find(&self) -> Result<(Arc<Module>, Found), Error> {
        let (path, selector) = (self.module.clone(), self.token.clone());
        within(self.limit, "looking for it", move || {
            let (module, found) = token::locate(&path, &selector, &Metrics::default())?;
            token::refuse_unusable(&found.info)?;
            Ok((module, found))
        })
    }
}

/// Whether an id is one of a person's key.
pub(crate) fn is_marked(id: &[u8]) -> bool {
    id.starts_with(MARK)
}

/// Whether the key with this label and id may be used for that.
pub(crate) fn check_use(exact: &KeySelector, purpose: KeyPurpose) -> Result<(), Error> {
    let selector = || exact.to_string();
    match (purpose, exact.id().is_some_and(is_marked)) {
        (KeyPurpose::Statement, true) | (KeyPurpose::Issuing | KeyPurpose::Health, false) => Ok(()),
        (KeyPurpose::Statement, false) => Err(Error::KeyNotForStatements { selector: selector() }),
        (KeyPurpose::Issuing | KeyPurpose::Health, true) => {
            Err(Error::KeyForStatements { selector: selector() })
        }
    }
}

/// A token of a ceremony is none for people.
fn refuse_ceremony(token: &Token, session: &ModuleSession) -> Result<(), Error> {
    if officer::marks(session)?.is_empty() {
        return Ok(());
    }
    Err(Error::CeremonyToken {
        token: token.info().label.clone(),
    })
}

/// What one half of a key says otherwise than it must, or does not say.
fn deviations(half: &str, reported: &Reported, expected: Expected) -> Vec<String> {
    order::deviations(half, reported, expected, |name| {
        Some(format!("{half} {name} is not reported"))
    })
}

/// The folder of what is remembered of one token's PIN: tokens do not share it, as a good login with one forgets.
fn remember(memory: &Path, serial: &str) -> Result<PathBuf, Error> {
    let folder = memory.join(format!("token-{}", hex::encode(serial)));
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder);
    made.map_err(|source: io::Error| Error::Files {
        path: folder.clone(),
        source,
    })?;
    Ok(folder)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::order::KeyOrder;

    fn key(id: &[u8]) -> KeySelector {
        KeySelector::new(Some("a".to_owned()), Some(id.to_vec())).unwrap()
    }

    #[test]
    fn a_key_is_for_statements_or_for_all_else() {
        let (persons, ca) = (key(b"statement/0123456789"), key(&[1]));
        let nameless = KeySelector::new(Some("statement/".to_owned()), None).unwrap();
        check_use(&persons, KeyPurpose::Statement).unwrap();
        for purpose in [KeyPurpose::Issuing, KeyPurpose::Health] {
            assert!(matches!(
                check_use(&persons, purpose),
                Err(Error::KeyForStatements { .. })
            ));
            check_use(&ca, purpose).unwrap();
            check_use(&nameless, purpose).unwrap();
        }
        // A label says nothing, nor does an id that the token does not tell.
        for other in [&ca, &nameless] {
            assert!(matches!(
                check_use(other, KeyPurpose::Statement),
                Err(Error::KeyNotForStatements { .. })
            ));
        }
    }

    #[test]
    fn what_is_said_otherwise_or_not_at_all_is_a_deviation() {
        let order = KeyOrder {
            label: "ann".to_owned(),
            id: b"statement/1".to_vec(),
            key_type: sealwright_identity::KeyType::P256,
            restrict: false,
        };
        let told = order.expected_private().into_iter();
        let good: Reported = told.map(|(name, value)| (name.to_owned(), Some(value))).collect();
        let judge = |told: &Reported| deviations("private", told, order.expected_private());
        assert_eq!(judge(&good), Vec::<String>::new());
        assert!(good.len() >= 18);
        for name in good.keys() {
            for said in [Some("odd".to_owned()), None] {
                let mut other = good.clone();
                other.insert(name.clone(), said);
                let found = judge(&other);
                assert!(found.len() == 1 && found[0].contains(name.as_str()), "{found:?}");
            }
        }
    }
}
