//! What a set changes, in words: for those who are asked to sign it.
//!
//! Pure, so that the words that a person reads are made on that person's own machine from the very
//! bytes that are signed.

use std::collections::BTreeSet;

use sealwright_identity::Digest;
use sealwright_statement::policy::{
    Canary, Entry, Mode, Person, Revision, Revisions, Roster, Scope, Set, StopBounds,
};
use serde_json::Value;

/// The changes from one set to the next, one a line. Without a set before, everything is new.
#[must_use]
pub fn changes(before: Option<&Set>, after: &Set, revisions: &Revisions) -> Vec<String> {
    let mut lines = Vec::new();
    let old: &[Entry] = before.map_or(&[], |before| &before.entries);
    if let Some(number) = after.restores {
        lines.push(format!("brings back set {number}"));
    }
    for entry in &after.entries {
        let known = revisions.get(&entry.revision);
        let name = title(entry.revision, known.map(|revision| &**revision));
        match old.iter().find(|old| old.revision == entry.revision) {
            Some(old) if old.mode == entry.mode => {}
            Some(old) => lines.push(format!(
                "{name}: {} becomes {}",
                mode(&old.mode),
                mode(&entry.mode)
            )),
            None => {
                lines.push(format!("{name}: new, {}", mode(&entry.mode)));
                if let Some(revision) = known {
                    lines.extend(details(revision, predecessor(old, revision, revisions)));
                }
            }
        }
    }
    for entry in old {
        if !after.entries.iter().any(|new| new.revision == entry.revision) {
            let known = revisions.get(&entry.revision);
            let name = title(entry.revision, known.map(|revision| &**revision));
            lines.push(format!("{name}: retired, was {}", mode(&entry.mode)));
        }
    }
    let order = |entries: &[Entry], others: &[Entry]| -> Vec<Digest> {
        let both = |entry: &&Entry| others.iter().any(|other| other.revision == entry.revision);
        entries.iter().filter(both).map(|entry| entry.revision).collect()
    };
    if order(old, &after.entries) != order(&after.entries, old) {
        lines.push("the order in which policies are asked changes".to_owned());
    }
    if before.is_some_and(|before| before.roster != after.roster) {
        lines.push(format!("the roster becomes {}", after.roster));
    }
    let stop = before.and_then(|before| before.stop);
    if stop != after.stop {
        lines.push(match after.stop {
            Some(bounds) => stops(&bounds),
            None => "canaries do not stop by themselves any more".to_owned(),
        });
    }
    if lines.is_empty() {
        lines.push("nothing changes".to_owned());
    }
    lines
}

/// When canaries stop, in words. A bound of 100 percent is none.
fn stops(bounds: &StopBounds) -> String {
    let share = |hundredths: u16| format!("{}.{:02} %", hundredths / 100, hundredths % 100);
    let above: Vec<String> = [(bounds.denied, "denied"), (bounds.aborted, "aborted")]
        .into_iter()
        .filter(|(bound, _)| *bound < 10_000)
        .map(|(bound, what)| format!("more than {} of them were {what}", share(bound)))
        .collect();
    match above.is_empty() {
        true => "bounds that no canary can exceed".to_owned(),
        false => format!(
            "a canary stops by itself once it has decided {} times and {}; the enforcing revision decides from then on",
            bounds.decisions,
            above.join(" or ")
        ),
    }
}

/// What a new roster changes: how many must agree, and who may do what by which keys.
#[must_use]
pub fn people(before: &Roster, after: &Roster) -> Vec<String> {
    let mut lines = Vec::new();
    if before.threshold != after.threshold {
        lines.push(format!(
            "  {} must agree instead of {}",
            after.threshold, before.threshold
        ));
    }
    let find = |roster: &'_ Roster, wanted: &Person| -> Option<Person> {
        let mut people = roster.people.iter();
        people.find(|person| person.name == wanted.name).cloned()
    };
    for person in &after.people {
        let name = &person.name;
        match find(before, person) {
            None => {
                lines.push(format!("  {name}: new, {}", roles(person)));
                let keys = person.keys.iter();
                lines.extend(keys.map(|key| format!("  {name}: a key is {}", key.id())));
            }
            Some(old) => {
                if old.roles != person.roles {
                    lines.push(format!("  {name}: {} becomes {}", roles(&old), roles(person)));
                }
                let new = person.keys.iter().filter(|key| !old.keys.contains(key));
                lines.extend(new.map(|key| format!("  {name}: a key is new, {}", key.id())));
                let gone = old.keys.iter().filter(|key| !person.keys.contains(key));
                lines.extend(gone.map(|key| format!("  {name}: a key is taken out, {}", key.id())));
            }
        }
    }
    let gone = before
        .people
        .iter()
        .filter(|person| find(after, person).is_none());
    lines.extend(gone.map(|person| format!("  {}: taken out, was {}", person.name, roles(person))));
    lines
}

fn roles(person: &Person) -> String {
    let words: Vec<&str> = person.roles.iter().map(|role| role.as_str()).collect();
    words.join(" and ")
}

fn title(digest: Digest, revision: Option<&Revision>) -> String {
    let short: String = digest.to_string().chars().take(19).collect();
    match revision {
        Some(revision) => format!("{} ({short})", revision.policy),
        None => format!("an unknown revision ({short})"),
    }
}

fn mode(mode: &Mode) -> String {
    match mode {
        Mode::Enforce => "enforced".to_owned(),
        Mode::Shadow => "in shadow".to_owned(),
        Mode::Canary(Canary { hundredths, .. }) => {
            format!("canary for {}.{:02} %", hundredths / 100, hundredths % 100)
        }
    }
}

/// The revision of that name that was in the set before, the enforcing one first.
fn predecessor<'a>(old: &[Entry], revision: &Revision, revisions: &'a Revisions) -> Option<&'a Revision> {
    let same_name = |entry: &&Entry| {
        let other = revisions.get(&entry.revision);
        other.is_some_and(|other| other.policy == revision.policy)
    };
    let enforcing = old
        .iter()
        .filter(same_name)
        .find(|entry| entry.mode == Mode::Enforce);
    let entry = enforcing.or_else(|| old.iter().find(same_name))?;
    Some(revisions.get(&entry.revision)?)
}

fn details(new: &Revision, old: Option<&Revision>) -> Vec<String> {
    let mut lines = Vec::new();
    match old {
        Some(old) if old.module == new.module => {}
        Some(old) => lines.push(format!("  module {} instead of {}", new.module, old.module)),
        None => lines.push(format!("  module {}", new.module)),
    }
    if old.is_none_or(|old| old.scope != new.scope) {
        lines.push(format!("  speaks for {}", scope(&new.scope)));
    }
    if old.is_none_or(|old| old.limits != new.limits) {
        let memory = match new.limits.memory {
            0 => "as much memory as the signer gives".to_owned(),
            bytes => format!("{bytes} bytes of memory"),
        };
        lines.push(format!("  fuel {}, {memory}", new.limits.fuel));
    }
    lines.extend(settings(old.map(|old| &*old.settings), &new.settings));
    lines
}

fn scope(scope: &Scope) -> String {
    let mut text = format!("trust domain {}", scope.trust_domain);
    for (what, list) in [
        ("issuers", &scope.issuers),
        ("namespaces", &scope.namespaces),
        ("service accounts", &scope.service_accounts),
    ] {
        match list.is_empty() {
            true => text.push_str(&format!(", all {what}")),
            false => text.push_str(&format!(", {what} {}", list.join(" "))),
        }
    }
    text
}

/// Keys of the first level, each with its value before and after.
fn settings(old: Option<&str>, new: &str) -> Vec<String> {
    let parse = |text: &str| match serde_json::from_str(text) {
        Ok(Value::Object(members)) => members,
        _ => serde_json::Map::new(),
    };
    let (old, new) = (old.map(parse).unwrap_or_default(), parse(new));
    let keys: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let line = |key: &&String| match (old.get(*key), new.get(*key)) {
        (Some(old), Some(new)) if old == new => None,
        (Some(old), Some(new)) => Some(format!("  settings.{key}: {new} instead of {old}")),
        (None, Some(new)) => Some(format!("  settings.{key}: {new}")),
        (Some(old), None) => Some(format!("  settings.{key}: taken out, was {old}")),
        (None, None) => None,
    };
    keys.iter().filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use sealwright_identity::Timestamp;
    use sealwright_statement::Sealed;
    use sealwright_statement::policy::Limits;

    use super::*;

    fn revision(policy: &str, module: &str, settings: &str) -> Sealed<Revision> {
        let module = Digest::of(module.as_bytes());
        Sealed::new(Revision {
            policy: policy.parse().unwrap(),
            module,
            source: None,
            settings: settings.to_owned(),
            scope: Scope::all_of("cluster.local".parse().unwrap()),
            wit: "sealwright:policy@1.0.0".to_owned(),
            limits: Limits { fuel: 1, memory: 0 },
        })
        .unwrap()
    }

    fn set(number: u64, entries: &[(&Sealed<Revision>, Mode)]) -> Set {
        Set {
            deployment: Digest::of(b"deployment"),
            number,
            previous: (number > 1).then(|| Digest::of(b"before")),
            not_before: Timestamp::from_unix_seconds(0),
            not_after: Timestamp::from_unix_seconds(1),
            roster: Digest::of(b"roster"),
            entries: entries
                .iter()
                .map(|(revision, mode)| Entry {
                    revision: revision.digest(),
                    mode: mode.clone(),
                    report: None,
                })
                .collect(),
            stop: None,
            restores: None,
        }
    }

    #[test]
    fn every_change_has_a_line() {
        let one = revision("baseline", "1", r#"{"a":1,"b":2}"#);
        let two = revision("baseline", "2", r#"{"a":1,"b":3,"c":4}"#);
        let other = revision("other", "3", "{}");
        let all: Revisions = [&one, &two, &other].map(|one| (one.digest(), one.clone())).into();
        let before = set(1, &[(&one, Mode::Enforce), (&other, Mode::Shadow)]);
        let after = set(2, &[(&other, Mode::Enforce), (&two, Mode::Enforce)]);
        let lines = changes(Some(&before), &after, &all).join("\n");
        for expected in [
            "other (sha256:",
            "in shadow becomes enforced",
            "new, enforced",
            "instead of",
            "settings.b: 3 instead of 2",
            "settings.c: 4",
            "retired, was enforced",
        ] {
            assert!(lines.contains(expected), "{expected} in {lines}");
        }
        assert!(!lines.contains("settings.a"), "{lines}");
        assert_eq!(changes(Some(&before), &before, &all), ["nothing changes"]);
        let first = changes(None, &before, &all).join("\n");
        assert!(first.contains("all namespaces"), "{first}");
    }

    #[test]
    fn bounds_are_told_in_words() {
        let before = set(1, &[]);
        let mut after = set(2, &[]);
        after.stop = Some(StopBounds {
            decisions: 200,
            denied: 525,
            aborted: 10_000,
        });
        let none = Revisions::new();
        let told = changes(Some(&before), &after, &none).join("\n");
        assert!(
            told.contains("decided 200 times and more than 5.25 % of them were denied;"),
            "{told}"
        );
        let told = changes(Some(&after), &before, &none);
        assert_eq!(told, ["canaries do not stop by themselves any more"]);
        assert_eq!(changes(Some(&after), &after, &none), ["nothing changes"]);
    }

    #[test]
    fn another_order_is_a_change() {
        let (one, two) = (revision("a", "1", "{}"), revision("b", "2", "{}"));
        let all: Revisions = [&one, &two].map(|one| (one.digest(), one.clone())).into();
        let before = set(1, &[(&one, Mode::Enforce), (&two, Mode::Enforce)]);
        let after = set(2, &[(&two, Mode::Enforce), (&one, Mode::Enforce)]);
        let lines = changes(Some(&before), &after, &all);
        assert_eq!(lines, ["the order in which policies are asked changes"]);
    }
}
