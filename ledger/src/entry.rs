//! What is put into the ledger and what comes out of it: the typed entries.
//!
//! The ledger does not interpret CSRs, to-be-signed bytes or evidence; it keeps them, in full.

use std::{collections::BTreeMap, fmt};

use sealwright_identity::{Digest, SerialNumber, Timestamp};
use serde::{Deserialize, Serialize};

/// What an entry says happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EntryKind {
    /// A gate started: what it runs, with which configuration, as whom.
    Start,
    /// A certificate was decided on; it is about to be signed.
    Decision,
    /// The certificate of an earlier decision: signed, verified, about to be released.
    Certificate,
    /// A policy or the ceiling said no to an authenticated caller.
    Denied,
    /// The gate said no to what the front asked for.
    Refused,
    /// A decision that will have no certificate.
    Failed,
    /// A decision whose gate ended before it was answered: it may have been signed, it never left.
    Unreleased,
    /// A blob was stored: the entry vouches for its digest.
    Blob,
    /// What decides was changed: a policy set took effect, a revision was revoked.
    Policy,
    /// A key's ceremony was verified: from now on it may sign.
    Ceremony,
    /// Entries about requests, which an export has, were taken out of the ledger.
    Prune,
}

impl EntryKind {
    /// Every kind, in the order of the codes.
    pub const ALL: [Self; 11] = [
        Self::Start,
        Self::Decision,
        Self::Certificate,
        Self::Denied,
        Self::Refused,
        Self::Failed,
        Self::Unreleased,
        Self::Blob,
        Self::Policy,
        Self::Ceremony,
        Self::Prune,
    ];

    /// The number that stands for the kind in the database and under the hash.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Start => 1,
            Self::Decision => 2,
            Self::Certificate => 3,
            Self::Denied => 4,
            Self::Refused => 5,
            Self::Failed => 6,
            Self::Unreleased => 7,
            Self::Blob => 8,
            Self::Policy => 9,
            Self::Ceremony => 10,
            Self::Prune => 11,
        }
    }

    /// The kind with a given code.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.code() == code)
    }

    /// Whether the entry settles an earlier decision.
    #[must_use]
    pub const fn settles(self) -> bool {
        matches!(self, Self::Certificate | Self::Failed | Self::Unreleased)
    }
}

/// What became of a request: the word that `log list` prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// The certificate was signed, verified and recorded.
    Issued,
    /// A policy or the ceiling said no.
    Denied,
    /// Decided and recorded, not yet signed.
    Pending,
    /// May have been signed, never left the gate.
    Unreleased,
    /// Signing failed; the reason is in the record.
    Failed,
    /// The gate refused what the front asked for.
    Refused,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Issued => "issued",
            Self::Denied => "denied",
            Self::Pending => "pending",
            Self::Unreleased => "unreleased",
            Self::Failed => "failed",
            Self::Refused => "refused",
        })
    }
}

/// One policy's part in a decision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyRef {
    /// Its name in the configuration.
    pub name: String,
    /// SHA-256 of the component.
    pub module: Digest,
    /// SHA-256 of the RFC 8785 JSON of its settings.
    pub settings: Digest,
    /// `allow`, `deny` or `aborted`.
    pub verdict: String,
    /// Fuel the call used.
    pub fuel: u64,
}

/// Why a request was turned down.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Denial {
    /// The policy that said no, or `ceiling`, or `gate`.
    pub policy: String,
    /// A stable word for programs.
    pub code: String,
    /// A sentence for people.
    pub message: String,
    /// The field of the request that is at fault.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub field: Option<String>,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub hint: Option<String>,
}

/// Whom a certificate is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CertificateKind {
    /// A workload that asked for it.
    #[default]
    Workload,
    /// The signer's own server.
    Serving,
}

/// A request and what was decided on it. Also the form of a denial and of a refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecisionEntry {
    /// Name of the issuer; empty when none was found.
    pub issuer: String,
    /// SHA-256 of the issuer's public key (SPKI).
    pub issuer_key: Digest,
    /// The serial that was drawn; always there for a decision. In a refusal, the serial that was asked for.
    pub serial: Option<SerialNumber>,
    /// Names of the certificate or, when there is none, of the caller; the primary one first.
    pub identities: Vec<String>,
    /// The policies that were asked, in order.
    pub policies: Vec<PolicyRef>,
    /// The certificate signing request, DER.
    pub csr: Vec<u8>,
    /// The exact bytes to be signed (TBSCertificate, DER).
    pub tbs: Vec<u8>,
    /// The gate's own encoding of the whole evidence.
    pub evidence: Vec<u8>,
    /// Whom the certificate is for.
    pub kind: CertificateKind,
    /// Why not; `None` for a decision.
    pub denial: Option<Denial>,
    /// The certificate that the caller presented, when this ledger has it.
    pub renewal: Option<Renewal>,
    /// The policy set that it was decided under; `None` where no policy decides, and in records of earlier versions.
    pub set: Option<SetRef>,
}

/// The policy set that a request was decided under.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetRef {
    /// Its number.
    pub number: u64,
    /// How many people agreed to it: 0 in a rehearsal only.
    pub approvals: u32,
}

/// What decides was changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyEntry {
    /// How.
    pub event: PolicyEvent,
    /// The number of the set in force from then on; 0 while there is none.
    pub number: u64,
    /// Digest of the statement that says so.
    pub statement: Digest,
    /// The gate's time when it judged the statement.
    pub judged_at: Timestamp,
    /// How many people agreed.
    pub approvals: u32,
    /// Made from the configuration of a rehearsal, by nobody.
    pub seeded: bool,
    /// The statement itself and those that it brings in (revisions, a roster), by digest, each with the digest of the
    /// blob that has its armoured file.
    pub brings: Vec<StatementRef>,
    /// Of a stop: which canary, and what it had come to.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub stopped: Option<CanaryStop>,
}

/// A canary that was stopped by the bounds of its set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CanaryStop {
    /// The revision's digest.
    pub revision: Digest,
    /// How many records of the set have its verdict.
    pub decisions: u64,
    /// How many of these are denials.
    pub denied: u64,
    /// How many were aborted.
    pub aborted: u64,
}

/// How what decides was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PolicyEvent {
    /// The first roster: of the configuration, or a rehearsal's, where nobody has to agree.
    Roster,
    /// A policy set took effect.
    Set,
    /// A revision was revoked.
    Revocation,
    /// A canary was stopped by the bounds of the set in force, which is named as the statement.
    Stop,
}

impl PolicyEvent {
    /// Every event, in the order of the codes.
    pub const ALL: [Self; 4] = [Self::Roster, Self::Set, Self::Revocation, Self::Stop];

    /// The number that stands for the event in a body.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Roster => 1,
            Self::Set => 2,
            Self::Revocation => 3,
            Self::Stop => 4,
        }
    }

    /// The event with a given code.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|event| event.code() == code)
    }
}

/// The gate verified the transcript of the ceremony that made an issuer's key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CeremonyEntry {
    /// The issuer that the key was verified for; others with the same key need no entry of their own.
    pub issuer: String,
    /// SHA-256 of the key (SPKI).
    pub key: Digest,
    /// The digest that names the transcript: that of its sums.
    pub transcript: Digest,
    /// The digest of the roster whose people agreed.
    pub roster: Digest,
    /// The digest of the plan that they agreed to.
    pub plan: Digest,
    /// The plan's random id, 32 hexadecimal digits.
    pub ceremony: String,
    /// Whether it was for practice.
    pub rehearsal: bool,
    /// The people who signed the transcript's end, by name.
    pub signed_by: Vec<String>,
    /// The digest of the blob with the transcript's files.
    pub blob: Digest,
}

impl CeremonyEntry {
    /// In the details of a start, before an issuer's name; the value is the digest of its transcript, or a word.
    pub const DETAIL: &str = "ceremony.";
    /// The word where the configuration says that there was no ceremony.
    pub const NONE: &str = "none";
}

/// Where a statement lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatementRef {
    /// The statement's own digest.
    pub statement: Digest,
    /// The digest of the blob with its armoured file.
    pub blob: Digest,
}

/// Which certificate of this ledger a request was authenticated with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Renewal {
    /// Its serial.
    pub previous: SerialNumber,
    /// When somebody was last known by another credential than a certificate of this ledger: the
    /// time of the first record in the chain of renewals.
    pub first_authenticated_at: Timestamp,
}

/// The certificate of a decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateEntry {
    /// Sequence of the decision.
    pub decision: u64,
    /// The certificate, DER. Its to-be-signed part must be the decision's, byte for byte.
    pub certificate: Vec<u8>,
}

/// A decision that will have no certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailedEntry {
    /// Sequence of the decision.
    pub decision: u64,
    /// Why, in one line.
    pub reason: String,
}

/// A gate start: everything that can influence what it does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StartEntry {
    /// Version of the program.
    pub version: String,
    /// SHA-256 of the executable.
    pub binary: Digest,
    /// SHA-256 of the effective configuration.
    pub configuration: Digest,
    /// SHA-256 of the PKCS#11 module file.
    pub module: Option<Digest>,
    /// Label and serial of the token, when it was present.
    pub token: Option<TokenFacts>,
    /// Every issuer with its key and its policies.
    pub issuers: Vec<IssuerFacts>,
    /// Name or number of the OS user.
    pub os_user: String,
    /// Process id.
    pub pid: u32,
    /// Anything else worth keeping, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub details: BTreeMap<String, String>,
}

/// A PKCS#11 token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenFacts {
    /// Its label.
    pub label: String,
    /// Its serial number.
    pub serial: String,
}

/// One issuer as a gate holds it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IssuerFacts {
    /// Its name.
    pub name: String,
    /// SHA-256 of its public key (SPKI).
    pub key: Digest,
    /// SHA-256 of the issuing certificate (DER), or of the chain blob.
    pub chain: Option<Digest>,
    /// Its policies, in order: name, module, settings.
    pub policies: Vec<PolicyFacts>,
}

/// One policy as a gate knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyFacts {
    /// Its name.
    pub name: String,
    /// SHA-256 of the component.
    pub module: Digest,
    /// SHA-256 of the settings.
    pub settings: Digest,
}

/// What a blob is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BlobKind {
    /// A policy component.
    Module,
    /// A policy's settings, RFC 8785 JSON.
    Settings,
    /// A description of the policy engine, JSON.
    EngineProfile,
    /// A certificate chain.
    Chain,
    /// Anything else.
    Other,
    /// A signed statement, an armoured file.
    Statement,
    /// The source archive of a policy.
    Source,
    /// An admission report.
    Report,
    /// The files of a key ceremony's transcript, a tar archive.
    Transcript,
}

impl BlobKind {
    /// Every kind, in the order of the codes.
    pub const ALL: [Self; 9] = [
        Self::Module,
        Self::Settings,
        Self::EngineProfile,
        Self::Chain,
        Self::Other,
        Self::Statement,
        Self::Source,
        Self::Report,
        Self::Transcript,
    ];

    /// The number that stands for the kind in the database.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Module => 1,
            Self::Settings => 2,
            Self::EngineProfile => 3,
            Self::Chain => 4,
            Self::Other => 5,
            Self::Statement => 6,
            Self::Source => 7,
            Self::Report => 8,
            Self::Transcript => 9,
        }
    }

    /// The kind with a given code.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.code() == code)
    }
}

/// Where an entry came to lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Appended {
    /// Its place in the ledger, from 1 without gaps.
    pub sequence: u64,
    /// Its chain hash.
    pub hash: Digest,
    /// The time that was written into it.
    pub recorded_at: Timestamp,
}
