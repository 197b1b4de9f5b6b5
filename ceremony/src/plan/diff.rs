//! Two plans side by side.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use super::Plan;

/// One place in which two plans differ.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Difference {
    /// Where: `steps.root-ca.profile.not_after`.
    pub place: String,
    /// What the first says, if it says anything there.
    pub first: Option<String>,
    /// What the second says.
    pub second: Option<String>,
}

impl Plan {
    /// Where another plan differs, by place. Tokens and steps are compared by name.
    #[must_use]
    pub fn differences(&self, other: &Self) -> Vec<Difference> {
        between(&flat(self), &flat(other))
    }
}

/// Where two lists of places differ.
pub(crate) fn between(
    first: &BTreeMap<String, String>,
    second: &BTreeMap<String, String>,
) -> Vec<Difference> {
    let places: std::collections::BTreeSet<_> = first.keys().chain(second.keys()).collect();
    places
        .into_iter()
        .map(|place| Difference {
            place: place.clone(),
            first: first.get(place).cloned(),
            second: second.get(place).cloned(),
        })
        .filter(|difference| difference.first != difference.second)
        .collect()
}

/// Every value of a plan by its place, and the order of its steps.
fn flat(plan: &Plan) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    if let Ok(value) = serde_json::to_value(plan) {
        leaves(&value, String::new(), &mut found);
    }
    let order: Vec<_> = plan.steps.iter().map(|step| step.name().as_str()).collect();
    found.insert("steps".to_owned(), order.join(", "));
    found
}

pub(crate) fn leaves(value: &Value, place: String, found: &mut BTreeMap<String, String>) {
    let below = |name: &str| match place.as_str() {
        "" => name.to_owned(),
        place => format!("{place}.{name}"),
    };
    match value {
        Value::Object(members) => {
            for (key, member) in members {
                leaves(member, below(key), found);
            }
        }
        Value::Array(items) => {
            for (item, number) in items.iter().zip(0..) {
                let name = item.get("name").and_then(Value::as_str);
                leaves(item, below(name.unwrap_or(&format!("{number}"))), found);
            }
        }
        Value::String(text) => {
            found.insert(place, text.clone());
        }
        other => {
            found.insert(place, other.to_string());
        }
    }
}
