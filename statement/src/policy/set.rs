//! What decides: revisions in an order, each with a mode.

mod consistency;

use sealwright_identity::{Digest, Timestamp};
use serde::Serialize;

pub use consistency::{SetError, check_set};

use crate::cbor::Value;
use crate::schema::{Fields, SchemaError, check_time, seconds};
use crate::statement::Statement;

/// The most entries of a set.
pub const MAX_ENTRIES: usize = 512;

/// The most shadows of a set: each costs a decision.
pub const MAX_SHADOWS: usize = 16;

/// All of 100 percent, in hundredths of one.
const WHOLE: u16 = 10_000;

/// Lengths of a canary's salt, in bytes.
const SALT: std::ops::RangeInclusive<usize> = 8..=32;

/// A policy set. A quorum signs it whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Set {
    /// For which deployment, see [`super::deployment_id`].
    pub deployment: Digest,
    /// Counts the sets of a deployment from 1, without gaps.
    pub number: u64,
    /// The digest of the set before; absent in set 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub previous: Option<Digest>,
    /// It may be activated from then on; whole seconds.
    pub not_before: Timestamp,
    /// And until then. An active set does not lapse.
    pub not_after: Timestamp,
    /// The roster that is in force once the set is.
    pub roster: Digest,
    /// The revisions, in the order in which they are asked.
    pub entries: Vec<Entry>,
    /// When a canary stops by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop: Option<StopBounds>,
    /// The number of the set that a rollback brings back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restores: Option<u64>,
}

/// A revision's part in a set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// The revision's digest.
    pub revision: Digest,
    /// What its verdict does.
    #[serde(flatten)]
    pub mode: Mode,
    /// The digest of its admission report. Every approved set has one in each entry.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub report: Option<Digest>,
}

/// What a revision's verdict does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "mode", rename_all = "lowercase")]
pub enum Mode {
    /// It must allow.
    Enforce,
    /// It is asked, and what it says is written down.
    Shadow,
    /// In its bucket it replaces the enforcing revision of its name.
    Canary(Canary),
}

/// Which share of the identities a canary decides for.
#[derive(Clone, PartialEq, Eq, Serialize)]
pub struct Canary {
    /// The share, in hundredths of a percent: 1 to 10 000.
    pub hundredths: u16,
    /// Draws other identities for each canary.
    #[serde(serialize_with = "hexadecimal")]
    pub salt: Vec<u8>,
}

impl std::fmt::Debug for Canary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (whole, part) = (self.hundredths / 100, self.hundredths % 100);
        write!(f, "Canary({whole}.{part:02} %, salt {})", hex::encode(&self.salt))
    }
}

/// When the gate stops a set's canaries by itself, and the enforcing revisions decide for everybody again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct StopBounds {
    /// Judged once a canary has decided this often, and at each decision from then on.
    pub decisions: u64,
    /// The most denials, in hundredths of a percent of its decisions.
    pub denied: u16,
    /// The most aborted decisions, likewise.
    pub aborted: u16,
}

impl Statement for Set {
    const TYPE: &'static str = "policy-set";

    fn to_value(&self) -> Value {
        let digest = |digest: &Digest| Value::bytes(digest.as_bytes());
        let stop = self.stop.map(|stop| {
            Value::map([
                ("decisions", Some(Value::Uint(stop.decisions))),
                ("denied", Some(Value::Uint(stop.denied.into()))),
                ("aborted", Some(Value::Uint(stop.aborted.into()))),
            ])
        });
        Value::map([
            ("deployment", Some(digest(&self.deployment))),
            ("number", Some(Value::Uint(self.number))),
            ("previous", self.previous.as_ref().map(digest)),
            ("not-before", Some(seconds(self.not_before))),
            ("not-after", Some(seconds(self.not_after))),
            ("roster", Some(digest(&self.roster))),
            (
                "entries",
                Some(Value::Array(self.entries.iter().map(Entry::to_value).collect())),
            ),
            ("stop", stop),
            ("restores", self.restores.map(Value::Uint)),
        ])
    }

    fn from_value(value: Value) -> Result<Self, SchemaError> {
        let mut fields = Fields::of("policy-set", value)?;
        let entries = fields.array("entries")?;
        let stop = fields.maybe_map("stop")?;
        let set = Self {
            deployment: fields.digest("deployment")?,
            number: fields.uint("number")?,
            previous: fields.maybe_digest("previous")?,
            not_before: fields.time("not-before")?,
            not_after: fields.time("not-after")?,
            roster: fields.digest("roster")?,
            entries: entries
                .into_iter()
                .map(Entry::from_value)
                .collect::<Result<_, _>>()?,
            stop: stop.map(StopBounds::from_fields).transpose()?,
            restores: fields.maybe_uint("restores")?,
        };
        fields.finish()?;
        Ok(set)
    }

    fn check(&self) -> Result<(), SchemaError> {
        check_time("not-before", self.not_before)?;
        check_time("not-after", self.not_after)?;
        if self.not_after < self.not_before {
            return Err(SchemaError::value("not-after", "it is before not-before"));
        }
        match (self.number, self.previous) {
            (0, _) => return Err(SchemaError::value("number", "sets are numbered from 1")),
            (1, Some(_)) => return Err(SchemaError::value("previous", "there is no set before set 1")),
            (2.., None) => return Err(SchemaError::value("previous", "only set 1 has none")),
            _ => {}
        }
        if self
            .restores
            .is_some_and(|restores| restores == 0 || restores >= self.number)
        {
            return Err(SchemaError::value(
                "restores",
                "it is not the number of an earlier set",
            ));
        }
        if self.entries.len() > MAX_ENTRIES {
            return Err(SchemaError::value(
                "entries",
                format!("there are more than {MAX_ENTRIES}"),
            ));
        }
        self.entries.iter().try_for_each(Entry::check)?;
        self.stop.map_or(Ok(()), |stop| stop.check())
    }
}

impl Entry {
    fn to_value(&self) -> Value {
        let (mode, canary) = match &self.mode {
            Mode::Enforce => ("enforce", None),
            Mode::Shadow => ("shadow", None),
            Mode::Canary(canary) => ("canary", Some(canary)),
        };
        Value::map([
            ("revision", Some(Value::bytes(self.revision.as_bytes()))),
            ("mode", Some(Value::text(mode))),
            (
                "hundredths",
                canary.map(|canary| Value::Uint(canary.hundredths.into())),
            ),
            ("salt", canary.map(|canary| Value::bytes(&canary.salt))),
            (
                "report",
                self.report.map(|report| Value::bytes(report.as_bytes())),
            ),
        ])
    }

    fn from_value(value: Value) -> Result<Self, SchemaError> {
        let mut fields = Fields::of("entries", value)?;
        let mode = match fields.text("mode")?.as_str() {
            "enforce" => Mode::Enforce,
            "shadow" => Mode::Shadow,
            "canary" => Mode::Canary(Canary {
                hundredths: hundredths(&mut fields, "hundredths")?,
                salt: fields.bytes("salt")?,
            }),
            other => {
                let problem = format!("{other:?} is not enforce, shadow or canary");
                return Err(SchemaError::value("mode", problem));
            }
        };
        let entry = Self {
            revision: fields.digest("revision")?,
            mode,
            report: fields.maybe_digest("report")?,
        };
        fields.finish()?;
        Ok(entry)
    }

    fn check(&self) -> Result<(), SchemaError> {
        let Mode::Canary(canary) = &self.mode else {
            return Ok(());
        };
        if canary.hundredths == 0 || canary.hundredths > WHOLE {
            return Err(SchemaError::value(
                "hundredths",
                "a canary has 0.01 to 100 percent",
            ));
        }
        if !SALT.contains(&canary.salt.len()) {
            return Err(SchemaError::value("salt", "a salt has 8 to 32 bytes"));
        }
        Ok(())
    }
}

impl StopBounds {
    fn from_fields(mut fields: Fields) -> Result<Self, SchemaError> {
        let bounds = Self {
            decisions: fields.uint("decisions")?,
            denied: hundredths(&mut fields, "denied")?,
            aborted: hundredths(&mut fields, "aborted")?,
        };
        fields.finish()?;
        Ok(bounds)
    }

    fn check(self) -> Result<(), SchemaError> {
        if self.decisions == 0 {
            return Err(SchemaError::value(
                "decisions",
                "nothing can be judged after none",
            ));
        }
        if self.denied > WHOLE || self.aborted > WHOLE {
            return Err(SchemaError::value("stop", "a bound has 0 to 100 percent"));
        }
        Ok(())
    }
}

fn hundredths(fields: &mut Fields, key: &'static str) -> Result<u16, SchemaError> {
    u16::try_from(fields.uint(key)?).map_err(|_large| SchemaError::value(key, "it is above 100 percent"))
}

fn hexadecimal<S: serde::Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&hex::encode(bytes))
}
