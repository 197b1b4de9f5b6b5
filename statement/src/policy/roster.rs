//! Who may push policies and who may approve sets.

use std::collections::BTreeSet;

use sealwright_identity::Digest;
use serde::{Deserialize, Serialize};

use super::name::Name;
use super::revision::name;
use crate::cbor::Value;
use crate::key::PublicKey;
use crate::schema::{Fields, SchemaError};
use crate::statement::Statement;

/// The most people of a roster.
pub const MAX_PEOPLE: usize = 128;

/// The most keys of one person.
const MAX_KEYS: usize = 8;

/// What a person's signature is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Pushes revisions.
    Author,
    /// Approves sets.
    Approver,
}

impl Role {
    /// The word in statements.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Author => "author",
            Self::Approver => "approver",
        }
    }
}

/// Somebody, with all of their keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Person {
    /// The name that records use.
    pub name: Name,
    /// What their signatures are for: ascending, at least one.
    pub roles: Vec<Role>,
    /// Their keys, at least one; a key belongs to one person.
    pub keys: Vec<PublicKey>,
}

/// The people of a deployment, and how many of them must agree.
///
/// A roster takes effect with the set that names it, which the quorum of the roster before signs. Threshold 0 is for
/// rehearsals: the gate takes it from nobody else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Roster {
    /// Counts the rosters of a deployment.
    pub number: u64,
    /// The digest of the roster before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub previous: Option<Digest>,
    /// How many approvers must agree.
    pub threshold: u64,
    /// The people, by name ascending.
    pub people: Vec<Person>,
}

impl Roster {
    /// The roster of a rehearsal: nobody, and nobody has to agree.
    #[must_use]
    pub const fn rehearsal() -> Self {
        Self {
            number: 0,
            previous: None,
            threshold: 0,
            people: Vec::new(),
        }
    }

    /// Whose key it is.
    #[must_use]
    pub fn owner(&self, key: &PublicKey) -> Option<&Person> {
        self.people.iter().find(|person| person.keys.contains(key))
    }
}

impl Statement for Roster {
    const TYPE: &'static str = "approver-roster";

    fn to_value(&self) -> Value {
        let person = |person: &Person| {
            let roles = person.roles.iter().map(|role| Value::text(role.as_str()));
            let keys = person.keys.iter().map(|key| Value::bytes(key.spki()));
            Value::map([
                ("name", Some(Value::text(person.name.as_str()))),
                ("roles", Some(Value::Array(roles.collect()))),
                ("keys", Some(Value::Array(keys.collect()))),
            ])
        };
        Value::map([
            ("number", Some(Value::Uint(self.number))),
            (
                "previous",
                self.previous.map(|digest| Value::bytes(digest.as_bytes())),
            ),
            ("threshold", Some(Value::Uint(self.threshold))),
            (
                "people",
                Some(Value::Array(self.people.iter().map(person).collect())),
            ),
        ])
    }

    fn from_value(value: Value) -> Result<Self, SchemaError> {
        let mut fields = Fields::of("approver-roster", value)?;
        let people = fields.array("people")?;
        let roster = Self {
            number: fields.uint("number")?,
            previous: fields.maybe_digest("previous")?,
            threshold: fields.uint("threshold")?,
            people: people.into_iter().map(person).collect::<Result<_, _>>()?,
        };
        fields.finish()?;
        Ok(roster)
    }

    fn check(&self) -> Result<(), SchemaError> {
        if self.people.len() > MAX_PEOPLE {
            return Err(SchemaError::value(
                "people",
                format!("there are more than {MAX_PEOPLE}"),
            ));
        }
        if !self.people.is_sorted_by(|one, next| one.name < next.name) {
            return Err(SchemaError::value(
                "people",
                "they are not sorted by name, or a name is there twice",
            ));
        }
        let mut keys = BTreeSet::new();
        for person in &self.people {
            person.check()?;
            for key in &person.keys {
                if !keys.insert(key.spki()) {
                    let problem = format!("{} of {} is there twice", key.id(), person.name);
                    return Err(SchemaError::value("keys", problem));
                }
            }
        }
        let approvers = self.people.iter().filter(|person| person.is(Role::Approver));
        let approvers = u64::try_from(approvers.count()).unwrap_or(u64::MAX);
        if self.threshold > approvers {
            let problem = format!("{} must agree, of {approvers} approvers", self.threshold);
            return Err(SchemaError::value("threshold", problem));
        }
        Ok(())
    }
}

impl Person {
    /// Whether their signatures are for this.
    #[must_use]
    pub fn is(&self, role: Role) -> bool {
        self.roles.contains(&role)
    }

    fn check(&self) -> Result<(), SchemaError> {
        if self.roles.is_empty() || !self.roles.is_sorted_by(|one, next| one < next) {
            let problem = format!("those of {} are none, not sorted, or there twice", self.name);
            return Err(SchemaError::value("roles", problem));
        }
        if self.keys.is_empty() || self.keys.len() > MAX_KEYS {
            let problem = format!(
                "{} has {}; 1 to {MAX_KEYS} are possible",
                self.name,
                self.keys.len()
            );
            return Err(SchemaError::value("keys", problem));
        }
        Ok(())
    }
}

fn person(value: Value) -> Result<Person, SchemaError> {
    let mut fields = Fields::of("people", value)?;
    let role = |text: String| match text.as_str() {
        "author" => Ok(Role::Author),
        "approver" => Ok(Role::Approver),
        _ => Err(SchemaError::value(
            "roles",
            format!("{text:?} is not author or approver"),
        )),
    };
    let key = |spki: Vec<u8>| {
        PublicKey::from_spki(&spki).map_err(|error| SchemaError::value("keys", error.to_string()))
    };
    let person = Person {
        name: name("name", &fields.text("name")?)?,
        roles: fields
            .texts("roles")?
            .into_iter()
            .map(role)
            .collect::<Result<_, _>>()?,
        keys: fields
            .byte_strings("keys")?
            .into_iter()
            .map(key)
            .collect::<Result<_, _>>()?,
    };
    fields.finish()?;
    Ok(person)
}
