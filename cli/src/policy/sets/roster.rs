//! `policy roster`.

use std::{collections::BTreeMap, process::ExitCode};

use sealwright_statement::policy::{Name, Person, Role, Roster};

use super::wire;
use crate::{
    args::RosterArgs,
    failure::Failure,
    files,
    output::{self, Output},
    signing,
};

pub(super) fn run(args: &RosterArgs, output: Output) -> Result<ExitCode, Failure> {
    let mut people: BTreeMap<Name, Person> = BTreeMap::new();
    for (role, entries) in [(Role::Author, &args.author), (Role::Approver, &args.approver)] {
        for entry in entries {
            let (name, key) = signing::named_key(entry)?;
            let person = people.entry(name.clone()).or_insert_with(|| Person {
                name,
                roles: Vec::new(),
                keys: Vec::new(),
            });
            if !person.roles.contains(&role) {
                person.roles.push(role);
            }
            if !person.keys.contains(&key) {
                person.keys.push(key);
            }
        }
    }
    let after = args.after.as_deref().map(wire::file::<Roster>).transpose()?;
    let roster = wire::seal(Roster {
        number: after
            .as_ref()
            .map_or(1, |before| before.statement.number.saturating_add(1)),
        previous: after.map(|before| before.statement.digest()),
        threshold: args.threshold,
        people: people.into_values().collect(),
    })?;
    files::create(&args.out, roster.to_string().as_bytes(), 0o644)?;
    let digest = roster.statement.digest();
    match output {
        Output::Json => output::json(&roster.statement)?,
        Output::Table => output::table(
            &[],
            [
                vec!["roster".to_owned(), args.out.display().to_string()],
                vec!["number".to_owned(), roster.statement.number.to_string()],
                vec!["must agree".to_owned(), roster.statement.threshold.to_string()],
                vec!["people".to_owned(), roster.statement.people.len().to_string()],
                vec!["digest".to_owned(), digest.to_string()],
                vec!["words".to_owned(), wire::spoken(&digest)],
            ],
        )?,
    }
    Ok(ExitCode::SUCCESS)
}
