//! The caller, as far as the gate can find out by itself.
//!
//! Of a caller with a certificate of ours the ledger says whether it was released, whose it is and
//! when its chain of renewals began. Of one with a token the pinned keys say who it is, where the
//! configuration has the gate verify its authenticator. What it cannot see is whether whoever sent
//! the certificate holds its key: for such callers a front that was taken over is believed, inside
//! the ceiling, and the record shows the certificate.
//!
//! The policies saw an input; of the caller it must say what the evidence and the ledger say.

use std::borrow::Cow;
use std::time::Duration;

use sealwright_identity::{SpiffeId, Timestamp, Validity};
use sealwright_jwt::{Error as TokenError, Trust, TrustError, Verified};
use sealwright_ledger::Renewal;
use sealwright_proto::gate::{Caller, Credential, Evidence};
use sealwright_x509::certificate::{CertificateError, CertificateRef};
use serde::Deserialize;

use super::foreign;
use super::origin::{Origin, Standing};
use super::pins::{Method, Pins, Tokens};
use crate::issuers::{Issuer, Issuers};

pub(super) const CLIENT_CERTIFICATE: &str = "client-certificate";
const TOKEN: &str = "jwt";

/// Why a caller is not taken for who the front says it is.
#[derive(Debug, thiserror::Error)]
pub(super) enum CallerError {
    #[error("the evidence has no caller")]
    Missing,
    #[error("callers of the authenticator {authenticator:?} cannot be known by a {source_word:?}")]
    Source {
        authenticator: String,
        source_word: String,
    },
    #[error("no [[gate.verify_caller]] names the authenticator {0:?}")]
    Unpinned(String),
    #[error("the evidence has no client certificate")]
    NoCertificate,
    #[error("the client certificate cannot be read")]
    Certificate(#[from] CertificateError),
    #[error(
        "the client certificate is of an issuer of this gate, and its serial was never released by it; authenticate with a token again"
    )]
    NotReleased,
    #[error("the client certificate is not valid now")]
    NotValid,
    #[error("the client certificate does not verify")]
    Untrusted(#[source] webpki::Error),
    #[error("the client certificate names no single identity of ours")]
    Name(#[source] Option<TrustError>),
    #[error(
        "the last authentication by another credential than a certificate was at {first}, longer ago than issuer {issuer} allows; authenticate with a token again"
    )]
    TooOld { first: Timestamp, issuer: String },
    #[error("the front handed no token over")]
    NoToken,
    #[error("the caller's token is not accepted")]
    Token(#[from] TokenError),
    #[error("the token in the evidence is not the one that was handed over")]
    OtherToken,
    #[error("the credential names {found}, the evidence {claimed:?}")]
    Mismatch { found: SpiffeId, claimed: Vec<String> },
    #[error("{own} may not act for another")]
    NotTrusted { own: SpiffeId },
    #[error("the input of the policies cannot be read")]
    Input(#[source] serde_json::Error),
    #[error("the input of the policies has another {0} of the caller than the evidence or the ledger")]
    OtherInput(&'static str),
}

impl CallerError {
    /// A stable word for the record.
    pub(super) const fn code(&self) -> &'static str {
        match self {
            Self::Missing => "evidence",
            Self::Source { .. } => "caller_source",
            Self::Unpinned(_) => "caller_not_verifiable",
            Self::NoCertificate => "client_certificate_missing",
            Self::Certificate(_) => "client_certificate_malformed",
            Self::NotReleased => "certificate_not_released",
            Self::NotValid => "client_certificate_not_valid",
            Self::Untrusted(_) => "client_certificate_untrusted",
            Self::Name(_) => "client_certificate_identity",
            Self::TooOld { .. } => "renewal_too_old",
            Self::NoToken => "caller_token_missing",
            Self::Token(_) => "caller_token",
            Self::OtherToken => "caller_token_evidence",
            Self::Mismatch { .. } => "caller_mismatch",
            Self::NotTrusted { .. } => "caller_impersonation",
            Self::Input(_) | Self::OtherInput(_) => "caller_input",
        }
    }
}

/// What is known of the certificate that a caller presented; of callers with tokens nothing.
#[derive(Debug, Default)]
pub(super) enum Presented {
    #[default]
    Nothing,
    Certificate(Standing),
    Unreadable(CertificateError),
}

impl Presented {
    /// What the record of a request with it says.
    pub(super) fn renewal(&self) -> Option<&Renewal> {
        match self {
            Self::Certificate(Standing::Released(origin)) => Some(&origin.renewal),
            _ => None,
        }
    }
}

/// The certificate of a caller that is known by one, or says so.
pub(super) fn certificate_of(evidence: Option<&Evidence>) -> Option<&[u8]> {
    let caller = evidence?.caller.as_ref()?;
    let by_certificate = caller.source == CLIENT_CERTIFICATE;
    caller
        .client_chain
        .first()
        .filter(|_| by_certificate)
        .map(Vec::as_slice)
}

/// What callers are held against.
#[derive(Debug)]
pub(super) struct Callers {
    pub(super) trust: Trust,
    pub(super) pins: Pins,
}

/// The longest that a request is on its way since the front judged its caller.
const ON_ITS_WAY: Duration = Duration::from_secs(10);

/// When to judge a certificate: now, or in its last second when it ended with the request on its way.
fn while_valid(validity: &Validity, now: Timestamp) -> Option<Timestamp> {
    let at = now.min(validity.not_after());
    let late = now.saturating_since(at) > ON_ITS_WAY;
    (validity.not_before() <= at && !late).then_some(at)
}

/// One request for a certificate, as far as its caller goes.
pub(super) struct Case<'a> {
    pub(super) evidence: &'a Evidence,
    pub(super) credential: Option<&'a Credential>,
    pub(super) presented: &'a Presented,
    pub(super) issuer: &'a Issuer,
    pub(super) issuers: &'a Issuers,
    pub(super) now: Timestamp,
}

impl Callers {
    /// Refuses a caller that is not who the evidence says, or may not renew any more.
    pub(super) fn judge(&self, case: &Case<'_>) -> Result<(), CallerError> {
        let caller = case.evidence.caller.as_ref().ok_or(CallerError::Missing)?;
        let by_certificate = caller.source == CLIENT_CERTIFICATE;
        let misplaced = || CallerError::Source {
            authenticator: caller.authenticator.clone(),
            source_word: caller.source.clone(),
        };
        if !by_certificate && caller.source != TOKEN {
            return Err(misplaced());
        }
        let input = Input::of(case.evidence)?;
        input.agrees_with(caller, case.presented.renewal())?;
        match self.method(caller)? {
            None => {}
            Some(Method::ClientCertificate) if by_certificate => {}
            Some(Method::Unverified) if !by_certificate => {}
            Some(Method::Token(tokens)) if !by_certificate => {
                by_token(tokens, caller, &input, case)?;
            }
            Some(_) => return Err(misplaced()),
        }
        if by_certificate {
            self.by_certificate(caller, case)?;
        }
        Ok(())
    }

    fn method(&self, caller: &Caller) -> Result<Option<&Method>, CallerError> {
        if self.pins.is_empty() {
            return Ok(None);
        }
        match self.pins.of(&caller.authenticator, &caller.cluster) {
            Some(pin) => Ok(Some(&pin.method)),
            None => Err(CallerError::Unpinned(caller.authenticator.clone())),
        }
    }

    fn by_certificate(&self, caller: &Caller, case: &Case<'_>) -> Result<(), CallerError> {
        let standing = match case.presented {
            Presented::Nothing => return Err(CallerError::NoCertificate),
            Presented::Unreadable(error) => return Err(CallerError::Certificate(error.clone())),
            Presented::Certificate(standing) => standing,
        };
        let leaf = caller.client_chain.first().ok_or(CallerError::NoCertificate)?;
        let leaf = CertificateRef::parse(leaf)?;
        let at = while_valid(&leaf.validity(), case.now).ok_or(CallerError::NotValid)?;
        match standing {
            Standing::NotReleased => return Err(CallerError::NotReleased),
            Standing::Foreign => {
                foreign::verify(&caller.client_chain, case.issuers, at).map_err(CallerError::Untrusted)?;
            }
            Standing::Released(origin) => may_renew(origin, case)?,
        }
        let uris = leaf.uris()?;
        let [uri] = uris.as_slice() else {
            return Err(CallerError::Name(None));
        };
        let recognized = self
            .trust
            .recognize(uri)
            .map_err(|error| CallerError::Name(Some(error)))?;
        same_name(caller, recognized.identity)
    }
}

fn may_renew(origin: &Origin, case: &Case<'_>) -> Result<(), CallerError> {
    let first = origin.renewal.first_authenticated_at;
    if case.issuer.may_renew(first, case.now) {
        return Ok(());
    }
    Err(CallerError::TooOld {
        first,
        issuer: case.issuer.name.to_string(),
    })
}

fn by_token(tokens: &Tokens, caller: &Caller, input: &Input<'_>, case: &Case<'_>) -> Result<(), CallerError> {
    let token = case.credential.map(|credential| &*credential.token);
    let token = token
        .filter(|token| !token.is_empty())
        .ok_or(CallerError::NoToken)?;
    // What is no text is no token either.
    let token = std::str::from_utf8(token).unwrap_or_default();
    let verified = tokens.verify(token, case.now)?;
    let evidence = verified.evidence();
    if caller.token_header != evidence.header_json || caller.token_claims != evidence.claims_json {
        return Err(CallerError::OtherToken);
    }
    let own = &verified.recognized().identity;
    if caller.identities == [own.as_str()] && input.caller.impersonator().is_none() {
        return Ok(());
    }
    acts_for_another(tokens, caller, input, &verified)
}

/// Whom it may act for only the front knows, who watches the pods; that it may at all is checked,
/// and that the record says so.
fn acts_for_another(
    tokens: &Tokens,
    caller: &Caller,
    input: &Input<'_>,
    verified: &Verified,
) -> Result<(), CallerError> {
    let own = &verified.recognized().identity;
    if caller.presented != own.as_str() || input.caller.impersonator() != Some(own.as_str()) {
        return Err(CallerError::Mismatch {
            found: own.clone(),
            claimed: caller.identities.iter().take(8).cloned().collect(),
        });
    }
    if tokens.trusts(verified) && caller.identities.len() == 1 {
        return Ok(());
    }
    Err(CallerError::NotTrusted { own: own.clone() })
}

fn same_name(caller: &Caller, found: SpiffeId) -> Result<(), CallerError> {
    if caller.identities == [found.as_str()] {
        return Ok(());
    }
    Err(CallerError::Mismatch {
        found,
        claimed: caller.identities.iter().take(8).cloned().collect(),
    })
}

/// What the policies were told of the caller; the rest of the input is not looked at.
#[derive(Deserialize)]
struct Input<'a> {
    #[serde(borrow)]
    caller: InputCaller<'a>,
}

#[derive(Deserialize)]
struct InputCaller<'a> {
    #[serde(borrow)]
    source: Cow<'a, str>,
    #[serde(borrow)]
    authenticator: Cow<'a, str>,
    identities: Vec<Cow<'a, str>>,
    #[serde(default)]
    attributes: InputAttributes,
    #[serde(borrow, default)]
    previous_serial: Option<Cow<'a, str>>,
    first_authenticated_at: Option<i64>,
}

#[derive(Default, Deserialize)]
struct InputAttributes {
    impersonator: Option<String>,
}

impl<'a> Input<'a> {
    fn of(evidence: &'a Evidence) -> Result<Self, CallerError> {
        let decision = evidence.decision.as_ref();
        let input = decision.map(|decision| &*decision.input).unwrap_or_default();
        serde_json::from_slice(input).map_err(CallerError::Input)
    }

    fn agrees_with(&self, caller: &Caller, renewal: Option<&Renewal>) -> Result<(), CallerError> {
        let serial = renewal.map(|renewal| renewal.previous.to_string());
        let first = renewal.map(|renewal| renewal.first_authenticated_at.unix_seconds());
        let same = [
            ("source", self.caller.source == caller.source),
            ("authenticator", self.caller.authenticator == caller.authenticator),
            (
                "identities",
                self.caller.identities.iter().eq(caller.identities.iter()),
            ),
            (
                "previous_serial",
                self.caller.previous_serial.as_deref() == serial.as_deref(),
            ),
            (
                "first_authenticated_at",
                self.caller.first_authenticated_at == first,
            ),
        ];
        match same.iter().find(|(_, same)| !same) {
            Some((what, _)) => Err(CallerError::OtherInput(what)),
            None => Ok(()),
        }
    }
}

impl InputCaller<'_> {
    fn impersonator(&self) -> Option<&str> {
        self.attributes.impersonator.as_deref()
    }
}
