//! The people of ceremonies: who operates, who witnesses, who audits, and how many operators must agree.

use std::collections::BTreeSet;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use sealwright_identity::Digest;
use sealwright_statement::policy::Name;
use sealwright_statement::{KeyError, PublicKey, Sealed, StatementError};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::canonical::statement;

/// The most people of a roster.
const MAX_PEOPLE: usize = 64;

/// What somebody is in a ceremony for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Agrees to plans, signs transcripts; counts for the quorum.
    Operator,
    /// Was in the room and saw it.
    Witness,
    /// Reads the plan before and the transcript afterwards.
    Auditor,
}

impl Role {
    /// The word in files.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Operator => "operator",
            Self::Witness => "witness",
            Self::Auditor => "auditor",
        }
    }
}

/// Somebody, with all of their keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Person {
    /// The name that transcripts use.
    pub name: Name,
    /// What they may be in a ceremony for: ascending, at least one.
    pub roles: Vec<Role>,
    /// Their keys, at least one; a key belongs to one person.
    #[serde(serialize_with = "write_keys", deserialize_with = "read_keys")]
    pub keys: Vec<PublicKey>,
}

/// The roster. A statement of the type `ceremony-roster`; plans name its digest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Roster {
    /// Of the file's form: 1.
    pub version: u64,
    /// Counts the rosters of one line, from 1.
    pub number: u64,
    /// The digest of the roster before; absent in the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<Digest>,
    /// How many operators must agree. 0 is for rehearsals.
    pub threshold: u64,
    /// The people, by name ascending.
    pub people: Vec<Person>,
}

statement!(Roster, "ceremony-roster");

impl Roster {
    /// Reads a roster's file, TOML. The order of people and roles in it means nothing.
    ///
    /// # Errors
    /// When it has another form, or makes no sense.
    pub fn read(text: &str) -> Result<Sealed<Self>, RosterError> {
        let mut roster: Self = toml::from_str(text)?;
        roster.people.sort_by(|one, next| one.name.cmp(&next.name));
        for person in &mut roster.people {
            person.roles.sort();
        }
        Ok(Sealed::new(roster)?)
    }

    /// The file that [`Self::read`] reads.
    ///
    /// # Errors
    /// When a number in it is too large for TOML.
    pub fn to_toml(&self) -> Result<String, toml::ser::Error> {
        toml::to_string(self)
    }

    /// Whose key it is.
    #[must_use]
    pub fn owner(&self, key: &PublicKey) -> Option<&Person> {
        self.people.iter().find(|person| person.keys.contains(key))
    }

    pub(crate) fn problem(&self) -> Option<(&'static str, String)> {
        if self.version != 1 {
            return Some(("version", "this release reads version 1".to_owned()));
        }
        if self.number == 0 || (self.number == 1) != self.previous.is_none() {
            return Some((
                "number",
                "it counts from 1, and all but the first name the `previous`".to_owned(),
            ));
        }
        if self.people.len() > MAX_PEOPLE {
            return Some(("people", format!("there are more than {MAX_PEOPLE}")));
        }
        if !self.people.is_sorted_by(|one, next| one.name < next.name) {
            return Some(("people", "a name is there twice".to_owned()));
        }
        let mut keys = BTreeSet::new();
        for person in &self.people {
            if person.roles.is_empty() || !person.roles.is_sorted_by(|one, next| one < next) {
                return Some((
                    "roles",
                    format!("those of {} are none, or one is there twice", person.name),
                ));
            }
            if person.keys.is_empty() || person.keys.len() > 8 {
                return Some(("keys", format!("{} has none or more than 8", person.name)));
            }
            if let Some(key) = person.keys.iter().find(|key| !keys.insert(key.spki())) {
                return Some(("keys", format!("{} of {} is there twice", key.id(), person.name)));
            }
        }
        let operators = self
            .people
            .iter()
            .filter(|person| person.roles.contains(&Role::Operator));
        let operators = u64::try_from(operators.count()).unwrap_or(u64::MAX);
        (self.threshold > operators).then(|| {
            (
                "threshold",
                format!("{} must agree, of {operators} operators", self.threshold),
            )
        })
    }
}

fn write_keys<S: Serializer>(keys: &[PublicKey], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(keys.iter().map(|key| STANDARD.encode(key.spki())))
}

fn read_keys<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<PublicKey>, D::Error> {
    let texts = Vec::<String>::deserialize(deserializer)?;
    let keys = texts.iter().map(|text| key(text));
    keys.collect::<Result<_, _>>()
        .map_err(|error| serde::de::Error::custom(chain_of(&error)))
}

/// A `PUBLIC KEY` block, or what is between its first and last line.
fn key(text: &str) -> Result<PublicKey, KeyError> {
    match STANDARD.decode(text.trim()) {
        Ok(spki) => PublicKey::from_spki(&spki),
        Err(_) => PublicKey::from_pem(text),
    }
}

fn chain_of(error: &dyn std::error::Error) -> String {
    let source = error.source().map(|source| format!(": {source}"));
    format!("{error}{}", source.unwrap_or_default())
}

/// Why a file is no roster.
#[derive(Debug, thiserror::Error)]
pub enum RosterError {
    /// Another form.
    #[error("the roster cannot be read")]
    Toml(#[from] toml::de::Error),
    /// It makes no sense.
    #[error("the roster cannot be used")]
    Statement(#[from] StatementError),
}
