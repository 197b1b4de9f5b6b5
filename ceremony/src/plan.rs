//! The plan: all that will happen, in one file that people review.
//!
//! TOML with a versioned schema; keys that are not known are refused. Its digest is over the canonical form of the
//! plan with every default written out (a statement of the type `ceremony-plan`), so neither the order nor the
//! spelling of the file counts.

mod attestation;
pub(crate) mod diff;
mod hands;
mod lint;
mod steps;

use sealwright_identity::{Digest, Timestamp};
use sealwright_statement::policy::Name;
use sealwright_statement::{Sealed, StatementError};
use serde::{Deserialize, Serialize};

pub use self::attestation::Attestation;
pub(crate) use self::attestation::MAX_ATTESTATION;
pub use self::diff::Difference;
pub use self::hands::{HsmQuorum, PinEntry};
pub use self::lint::Warning;
pub use self::steps::{
    ApproverRosterStep, CertificateStep, CheckpointStep, CrossStep, CsrStep, Custody, ImportStep,
    InventoryStep, KeyStep, Profile, Purpose, RootStep, Step, Unexplained,
};
use crate::canonical::statement;
use crate::id::CeremonyId;

/// The largest plan's file, in bytes.
const MAX_BYTES: usize = 256 * 1024;

/// A plan, every default written out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// Of the file's form: 1.
    pub version: u64,
    /// The random number that names the ceremony, so that it happens once.
    pub ceremony: CeremonyId,
    /// What it is for, in words.
    pub title: String,
    /// Whether it is for practice: every certificate says so.
    pub rehearsal: bool,
    /// The first moment at which it may run.
    pub not_before: Timestamp,
    /// The last moment at which it may begin or go on.
    pub not_after: Timestamp,
    /// The digest of the roster whose people agree.
    pub roster: Digest,
    /// The digest of the sums of the transcript before, in a line of ceremonies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous_transcript: Option<Digest>,
    /// The vendor's library.
    pub module: ModulePlan,
    /// The tokens, by names that steps use.
    pub tokens: Vec<TokenPlan>,
    /// What is done, in order.
    pub steps: Vec<Step>,
    /// The issuer that the configuration fragment is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer: Option<IssuerPlan>,
}

/// The PKCS#11 module.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModulePlan {
    /// Its file.
    pub path: String,
    /// The file's SHA-256; only a rehearsal may leave it out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
}

/// A token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenPlan {
    /// The name that steps use.
    pub name: Name,
    /// Its label.
    pub label: String,
    /// Its serial number. Only a token that is initialised here may leave it out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serial: Option<String>,
    /// Whether a free slot becomes this token.
    #[serde(default)]
    pub initialize: bool,
    /// How many people type a part of its PIN each.
    #[serde(default = "one")]
    pub pin_parts: u64,
    /// Where its PINs are given.
    #[serde(default, skip_serializing_if = "PinEntry::is_typed")]
    pub pin: PinEntry,
    /// The quorum of its own that must open it before a login.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hsm_quorum: Option<HsmQuorum>,
    /// Attributes that this kind of token does not tell, and that are accepted as `not reported`.
    #[serde(default)]
    pub accept_not_reported: Vec<String>,
}

/// Which issuer of a signer the outputs are for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IssuerPlan {
    /// Its name in the signer's configuration.
    pub name: Name,
    /// The step that makes or imports its certificate.
    pub certificate: Name,
    /// The key that the signer's health probes use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health_key: Option<Name>,
    /// Policies that the configuration names, for rehearsals.
    #[serde(default)]
    pub policies: Vec<Name>,
}

const fn one() -> u64 {
    1
}

statement!(Plan, "ceremony-plan");

impl Plan {
    /// The token of that name.
    #[must_use]
    pub fn token(&self, name: &Name) -> Option<&TokenPlan> {
        self.tokens.iter().find(|token| token.name == *name)
    }

    /// The step of that name.
    #[must_use]
    pub fn step(&self, name: &Name) -> Option<&Step> {
        self.steps.iter().find(|step| step.name() == name)
    }

    /// The step that makes the key of that name.
    #[must_use]
    pub fn key(&self, name: &Name) -> Option<&KeyStep> {
        match self.step(name) {
            Some(Step::Key(key)) => Some(key),
            _ => None,
        }
    }

    /// The steps that make keys.
    pub fn keys(&self) -> impl Iterator<Item = &KeyStep> {
        self.steps.iter().filter_map(|step| match step {
            Step::Key(key) => Some(key),
            _ => None,
        })
    }
}

/// A plan that makes sense. Only [`LintedPlan::read`] makes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LintedPlan {
    plan: Sealed<Plan>,
    text: String,
    warnings: Vec<Warning>,
}

impl LintedPlan {
    /// Reads and lints a plan's file.
    ///
    /// # Errors
    /// When it has another form, or says what a ceremony does not do.
    pub fn read(text: &str) -> Result<Self, PlanError> {
        if text.len() > MAX_BYTES {
            return Err(PlanError::TooLarge);
        }
        let plan: Plan = toml::from_str(text)?;
        let plan = Sealed::new(plan)?;
        let warnings = lint::warnings(&plan);
        Ok(Self {
            plan,
            text: text.to_owned(),
            warnings,
        })
    }

    /// The plan.
    #[must_use]
    pub const fn plan(&self) -> &Sealed<Plan> {
        &self.plan
    }

    /// The digest that people agree to.
    #[must_use]
    pub const fn digest(&self) -> Digest {
        self.plan.digest()
    }

    /// The file as it was read.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What people should think about.
    #[must_use]
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }
}

/// Why a file is no plan.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// Another form.
    #[error("the plan cannot be read")]
    Toml(#[from] toml::de::Error),
    /// It makes no sense.
    #[error("the plan cannot be used")]
    Statement(#[from] StatementError),
    /// Too large.
    #[error("the plan has more than {MAX_BYTES} bytes")]
    TooLarge,
}

#[cfg(test)]
mod tests;
