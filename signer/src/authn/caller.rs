//! The authenticated caller, and the connection it came over.
//!
//! A [`Caller`] has no public constructor: holding one means that an authenticator
//! vouched for it.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use rustls_pki_types::CertificateDer;
use sealwright_identity::{SerialNumber, SpiffeId, Timestamp};
use sealwright_jwt::Recognized;
pub use sealwright_jwt::{KubernetesFacts, ObjectRef, TokenEvidence};
use secrecy::SecretString;

/// The attribute that names a node proxy which acts for another identity.
const ON_BEHALF: &str = "impersonator";

/// The connection that a request came over.
#[derive(Clone, Debug)]
pub struct Peer {
    /// The remote address.
    pub addr: SocketAddr,
    /// The TLS session, `None` on a plaintext connection.
    pub tls: Option<PeerTls>,
}

/// What the TLS handshake left behind.
#[derive(Clone, Debug, Default)]
pub struct PeerTls {
    /// The client's certificate first, then what it sent with it; empty when the
    /// client sent none. The handshake proved possession of the first one's key.
    pub chain: Vec<CertificateDer<'static>>,
}

/// Which kind of credential a caller is known by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AuthSource {
    /// A client certificate that chains to the trust bundle.
    ClientCertificate,
    /// A JWT of a configured issuer.
    Jwt,
}

impl AuthSource {
    /// The word used in policy inputs, logs and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ClientCertificate => "client-certificate",
            Self::Jwt => "jwt",
        }
    }
}

impl fmt::Display for AuthSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The certificate of this installation that a caller presented, by the word of the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Renewal {
    /// Its serial.
    pub previous: SerialNumber,
    /// When somebody was last known by another credential than a certificate of this installation.
    pub first_authenticated_at: Timestamp,
}

/// Somebody an authenticator vouched for.
#[derive(Clone, Debug)]
pub struct Caller {
    source: AuthSource,
    stamp: Stamp,
    identities: Vec<SpiffeId>,
    presented: Option<SpiffeId>,
    kubernetes: Option<Arc<KubernetesFacts>>,
    token: Option<Arc<TokenEvidence>>,
    client_chain: Vec<Vec<u8>>,
    credential: Option<Arc<SecretString>>,
    renewal: Option<Arc<Renewal>>,
    peer: SocketAddr,
    valid_until: Timestamp,
}

impl Caller {
    pub(super) fn by_certificate(
        stamp: &Stamp,
        recognized: Recognized,
        chain: &[CertificateDer<'_>],
        peer: &Peer,
        valid_until: Timestamp,
    ) -> Self {
        Self {
            source: AuthSource::ClientCertificate,
            stamp: stamp.clone(),
            identities: vec![recognized.identity],
            presented: recognized.presented,
            kubernetes: None,
            token: None,
            client_chain: chain.iter().map(|der| der.to_vec()).collect(),
            credential: None,
            renewal: None,
            peer: peer.addr,
            valid_until,
        }
    }

    pub(super) fn by_token(
        stamp: &Stamp,
        recognized: Recognized,
        kubernetes: Option<Arc<KubernetesFacts>>,
        token: Arc<TokenEvidence>,
        peer: &Peer,
        valid_until: Timestamp,
    ) -> Self {
        Self {
            source: AuthSource::Jwt,
            stamp: stamp.clone(),
            identities: vec![recognized.identity],
            presented: recognized.presented,
            kubernetes,
            token: Some(token),
            client_chain: Vec::new(),
            credential: None,
            renewal: None,
            peer: peer.addr,
            valid_until,
        }
    }

    /// The same caller with its token, where the gate wants to see it.
    pub(super) fn handing_over(self, stamp: &Stamp, token: &str) -> Self {
        let credential = stamp.hands_over.then(|| Arc::new(SecretString::from(token)));
        Self { credential, ..self }
    }

    /// The same caller with what the ledger says of its certificate.
    pub(crate) fn renewing(&self, renewal: Arc<Renewal>) -> Self {
        Self {
            renewal: Some(renewal),
            ..self.clone()
        }
    }

    /// The same caller, in the name of another, as only the node authorizer may decide.
    /// Credential, pod facts and evidence stay the caller's own.
    pub(crate) fn acting_for(&self, identity: SpiffeId) -> Self {
        let own = self.identities.first().cloned();
        let mut attributes = self.stamp.attributes.as_ref().clone();
        if let Some(own) = &own {
            attributes.insert(ON_BEHALF.to_owned(), own.to_string());
        }
        Self {
            identities: vec![identity],
            presented: own,
            stamp: Stamp {
                attributes: Arc::new(attributes),
                ..self.stamp.clone()
            },
            ..self.clone()
        }
    }

    /// The kind of credential.
    #[must_use]
    pub fn source(&self) -> AuthSource {
        self.source
    }

    /// The configured name of the authenticator that vouched.
    #[must_use]
    pub fn authenticator(&self) -> &str {
        &self.stamp.authenticator
    }

    /// At least one identity, all of the primary trust domain.
    #[must_use]
    pub fn identities(&self) -> &[SpiffeId] {
        &self.identities
    }

    /// The identity as presented, when it is not the one above: it named an alias of the trust
    /// domain, or the caller acts for another.
    #[must_use]
    pub fn presented(&self) -> Option<&SpiffeId> {
        self.presented.as_ref()
    }

    /// The workload behind a service account token.
    #[must_use]
    pub fn kubernetes(&self) -> Option<&KubernetesFacts> {
        self.kubernetes.as_deref()
    }

    /// The cluster: the one whose API server vouched, else the authenticator's attribute
    /// `cluster`. Never from the request: the `clusterid` metadata is only a claim.
    #[must_use]
    pub fn cluster(&self) -> Option<&str> {
        self.stamp.attributes.get("cluster").map(String::as_str)
    }

    /// The attributes that the configuration gives to everyone this authenticator vouches for,
    /// and `impersonator` where the caller acts for another.
    #[must_use]
    pub fn attributes(&self) -> &BTreeMap<String, String> {
        &self.stamp.attributes
    }

    /// The token's header and claims.
    #[must_use]
    pub fn token(&self) -> Option<&TokenEvidence> {
        self.token.as_deref()
    }

    /// The client's certificate chain in DER, leaf first; empty for tokens.
    #[must_use]
    pub fn client_chain(&self) -> &[Vec<u8>] {
        &self.client_chain
    }

    /// From this moment on the credential vouches for nobody: a call that goes on ends then.
    #[must_use]
    pub fn valid_until(&self) -> Timestamp {
        self.valid_until
    }

    /// The token, for the gate alone; only where it verifies the callers of this authenticator.
    pub(crate) fn credential(&self) -> Option<&SecretString> {
        self.credential.as_deref()
    }

    /// What the ledger says of the caller's certificate, if it is one of this installation.
    #[must_use]
    pub fn renewal(&self) -> Option<&Renewal> {
        self.renewal.as_deref()
    }

    /// The address that the request came from.
    #[must_use]
    pub fn peer(&self) -> SocketAddr {
        self.peer
    }
}

/// What an authenticator puts on every caller it vouches for, shared by them all.
#[derive(Clone, Debug)]
pub(super) struct Stamp {
    pub(super) authenticator: Arc<str>,
    pub(super) attributes: Arc<BTreeMap<String, String>>,
    /// Whether the gate wants to see the tokens.
    pub(super) hands_over: bool,
}

impl Stamp {
    pub(super) fn new(name: &str, attributes: &BTreeMap<String, String>, hands_over: bool) -> Self {
        Self {
            authenticator: name.into(),
            attributes: Arc::new(attributes.clone()),
            hands_over,
        }
    }
}
