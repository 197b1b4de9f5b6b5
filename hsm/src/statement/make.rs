//! Making a person's key on a token.

use aws_lc_rs::rand;
use sealwright_identity::KeyType;
use sealwright_statement::{KeyKind, PublicKey};

use super::{MARK, PersonalToken, deviations, refuse_ceremony, signer::public_half};
use crate::{
    ceremony::Officer,
    error::Error,
    key::KeySelector,
    module::SessionKind,
    order::KeyOrder,
    pin::{Pin, PinError},
    token::Token,
    uri::Pkcs11Uri,
};

/// Random bytes of an id, after its mark.
const DRAWN: usize = 10;

/// What is to be made.
#[derive(Clone, Debug)]
pub struct NewKey {
    /// `CKA_LABEL` of both halves; no other key of the token has it.
    pub label: String,
    /// Its kind.
    pub kind: KeyKind,
}

/// What was made.
#[derive(Clone, Debug)]
pub struct MadeKey {
    /// The public half, for a roster.
    pub public: PublicKey,
    /// The key's name: its token, label and id.
    pub uri: Pkcs11Uri,
}

/// Makes a key on a token, for statements of a person and nothing else. `pin` is asked with the token's label.
///
/// # Errors
/// No token fits or several do, the PIN is refused, the label is taken, the token is one of a ceremony, or the module
/// fails or does not answer. After [`Error::KeyUnguarded`] a key is there that no statement will be signed with: it
/// says of itself something else than was asked for.
pub fn make_key(
    at: &PersonalToken,
    new: &NewKey,
    pin: impl FnOnce(&str) -> Result<Pin, PinError>,
) -> Result<MadeKey, Error> {
    let new = new.clone();
    at.log_in(pin, "making the key", move |token| make(token, new))
}

fn make(token: Token, new: NewKey) -> Result<MadeKey, Error> {
    let session = token
        .open_session(SessionKind::ReadWrite)
        .map_err(Error::call("opening a session that may write"))?;
    refuse_ceremony(&token, &session)?;
    let officer = Officer::new(token.clone(), session);
    let taken = officer.count(Some(&new.label), None)?;
    if taken.private + taken.public > 0 {
        return Err(Error::Exists {
            what: format!("a key with the label `{}`", new.label),
        });
    }
    let order = KeyOrder {
        label: new.label,
        id: draw()?,
        key_type: match new.kind {
            KeyKind::P256 => KeyType::P256,
            KeyKind::P384 => KeyType::P384,
            KeyKind::Ed25519 => KeyType::Ed25519,
        },
        restrict: false,
    };
    officer.generate(&order)?;
    let selector = KeySelector::new(Some(order.label.clone()), Some(order.id.clone()))?;
    let (private, public) = officer.read_pair(&order.label, &order.id)?;
    let mut odd = deviations("private", &private, order.expected_private());
    odd.extend(deviations("public", &public, order.expected_public()));
    if !odd.is_empty() {
        return Err(Error::KeyUnguarded {
            selector: selector.to_string(),
            deviations: odd,
        });
    }
    let public = public_half(&token.find_statement_key(&selector)?)?;
    let info = token.info();
    let uri = Pkcs11Uri {
        token: Some(info.label.clone()),
        serial: Some(info.serial.clone()),
        object: Some(order.label),
        id: Some(order.id),
        ..Pkcs11Uri::default()
    };
    Ok(MadeKey { public, uri })
}

fn draw() -> Result<Vec<u8>, Error> {
    let mut drawn = [0; DRAWN];
    rand::fill(&mut drawn).map_err(|_| Error::NoRandom)?;
    Ok([MARK, &drawn].concat())
}
