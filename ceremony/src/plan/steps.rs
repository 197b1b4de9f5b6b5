//! What a plan can ask for.

use sealwright_identity::{Digest, KeyType, Timestamp};
use sealwright_statement::policy::{Name, Roster};
use sealwright_statement::{Envelope, EnvelopeError, Signed};
use serde::{Deserialize, Serialize};

use super::Attestation;

/// One step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Step {
    /// Makes a key pair in a token.
    Key(KeyStep),
    /// A certificate that its own key signs.
    Root(RootStep),
    /// A CA certificate that another CA of the plan signs.
    Intermediate(CertificateStep),
    /// A CA certificate that a CA from before the ceremony signs.
    CrossCertificate(CrossStep),
    /// A request to a CA elsewhere.
    Csr(CsrStep),
    /// A certificate from elsewhere, for a key that is in a token already.
    ImportCertificate(ImportStep),
    /// The first roster of those who approve policies.
    ApproverRoster(ApproverRosterStep),
    /// Every object of tokens is listed, and held against what transcripts explain.
    Inventory(InventoryStep),
    /// Everybody stops, and the transcript's head is read aloud.
    Checkpoint(CheckpointStep),
}

impl Step {
    /// Its name, which no other has.
    #[must_use]
    pub const fn name(&self) -> &Name {
        match self {
            Self::Key(step) => &step.name,
            Self::Root(step) => &step.name,
            Self::Intermediate(step) => &step.name,
            Self::CrossCertificate(step) => &step.name,
            Self::Csr(step) => &step.name,
            Self::ImportCertificate(step) => &step.name,
            Self::ApproverRoster(step) => &step.name,
            Self::Inventory(step) => &step.name,
            Self::Checkpoint(step) => &step.name,
        }
    }

    /// What it is, for people.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Key(_) => "key",
            Self::Root(_) => "root",
            Self::Intermediate(_) => "intermediate",
            Self::CrossCertificate(_) => "cross-certificate",
            Self::Csr(_) => "csr",
            Self::ImportCertificate(_) => "import-certificate",
            Self::ApproverRoster(_) => "approver-roster",
            Self::Inventory(_) => "inventory",
            Self::Checkpoint(_) => "checkpoint",
        }
    }
}

/// A key pair to make.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyStep {
    /// The step's name.
    pub name: Name,
    /// The token that it is made in.
    pub token: Name,
    /// `CKA_LABEL`.
    pub label: String,
    /// Kind and size.
    pub algorithm: KeyType,
    /// What it is for.
    #[serde(default)]
    pub purpose: Purpose,
    /// What becomes of it when the token is lost.
    #[serde(default)]
    pub custody: Custody,
    /// What a vendor says of the device that made it.
    #[serde(default, skip_serializing_if = "Attestation::is_none")]
    pub attestation: Attestation,
}

/// What a key is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Purpose {
    /// Certificates.
    #[default]
    Issuing,
    /// A signer's health probes.
    Health,
    /// Checkpoints of the ledger.
    Checkpoint,
}

/// What becomes of a key when its token is lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Custody {
    /// It is lost, too: rotate.
    #[default]
    HsmOnly,
    /// The vendor's own procedure clones the token.
    VendorClone,
    /// A wrapped copy is kept. Not built yet.
    Wrapped,
}

/// A root certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RootStep {
    /// The step's name, and the file's.
    pub name: Name,
    /// The step that makes its key.
    pub key: Name,
    /// What it says.
    pub profile: Profile,
}

/// An intermediate certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CertificateStep {
    /// The step's name, and the file's.
    pub name: Name,
    /// The step that makes its key.
    pub key: Name,
    /// The step that makes its issuer's certificate.
    pub issuer: Name,
    /// What it says.
    pub profile: Profile,
}

/// A certificate under a CA from before the ceremony: another one for a root or an intermediate of the plan, or the only
/// one of its key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CrossStep {
    /// The step's name, and the file's.
    pub name: Name,
    /// The step that makes its key.
    pub key: Name,
    /// The token that the older CA's key is in.
    pub token: Name,
    /// That key's `CKA_LABEL`.
    pub label: String,
    /// That key's `CKA_ID`, in hexadecimal digits.
    pub id: String,
    /// The older CA's certificate, PEM.
    pub older: String,
    /// The certificates above it, PEM, the root last; none for a root.
    #[serde(default)]
    pub older_parents: String,
    /// What it says; the names are those of the key's other certificate.
    pub profile: Profile,
}

/// What a CA certificate says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// The organization in its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub organization: Option<String>,
    /// The common name.
    pub common_name: String,
    /// Valid from.
    pub not_before: Timestamp,
    /// Valid to.
    pub not_after: Timestamp,
    /// How many CA certificates may follow on the way to a leaf.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path_length: Option<u8>,
    /// Where its issuer's CRL is.
    #[serde(default)]
    pub crl_urls: Vec<String>,
    /// Where its issuer's certificate is.
    #[serde(default)]
    pub issuer_urls: Vec<String>,
    /// URI name constraints, which are never written: who asks for them is told why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub permitted_uri_domains: Vec<String>,
}

/// A request to a CA elsewhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CsrStep {
    /// The step's name, and the file's.
    pub name: Name,
    /// The step that makes its key.
    pub key: Name,
    /// The organization in its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub organization: Option<String>,
    /// The common name.
    pub common_name: String,
}

/// A certificate from elsewhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImportStep {
    /// The step's name, and the file's.
    pub name: Name,
    /// The token that its key is in.
    pub token: Name,
    /// The key's `CKA_LABEL`.
    pub label: String,
    /// The key's `CKA_ID`, in hexadecimal digits.
    pub id: String,
    /// The certificate, PEM.
    pub certificate: String,
    /// The certificates above it, PEM, the root last.
    pub parents: String,
}

/// The first roster of those who approve policies: with it in the plan, the quorum of the ceremony agrees to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApproverRosterStep {
    /// The step's name, and the file's.
    pub name: Name,
    /// The roster as an armoured file.
    pub roster: String,
}

impl ApproverRosterStep {
    /// The roster, read.
    ///
    /// # Errors
    /// When it is none, or nobody would have to agree by it.
    pub fn read(&self) -> Result<Signed<Roster>, EnvelopeError> {
        Envelope::parse(&self.roster)?.open()
    }
}

/// A look at everything that is on tokens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InventoryStep {
    /// The step's name.
    pub name: Name,
    /// The tokens; all of the plan when there is none.
    #[serde(default)]
    pub tokens: Vec<Name>,
    /// The digests of transcripts that explain objects, beside this ceremony's own.
    #[serde(default)]
    pub transcripts: Vec<Digest>,
    /// What becomes of the ceremony when nothing explains an object.
    #[serde(default)]
    pub unexplained: Unexplained,
}

impl InventoryStep {
    /// Whether it looks at a token of the plan.
    #[must_use]
    pub fn covers(&self, token: &Name) -> bool {
        self.tokens.is_empty() || self.tokens.contains(token)
    }
}

/// What an object that nothing explains does to a ceremony.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unexplained {
    /// It stops.
    #[default]
    Stop,
    /// It goes on, and the object is written down as an exception.
    Record,
}

/// A pause.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckpointStep {
    /// The step's name.
    pub name: Name,
}
