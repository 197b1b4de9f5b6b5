//! `policy keygen`, `policy roster`.

use std::{
    collections::BTreeMap,
    fs::OpenOptions,
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    process::ExitCode,
};

use sealwright_statement::{
    FileSigner, KeyKind, PublicKey, Signer as _,
    policy::{Name, Person, Role, Roster},
};
use serde::Serialize;

use super::wire;
use crate::{
    args::{KeygenArgs, PersonKey, RosterArgs},
    failure::{Class, Failure, OrFail},
    output::{self, Output},
};

#[derive(Serialize)]
struct Made {
    key: PathBuf,
    public: PathBuf,
    id: String,
}

pub(super) fn generate(args: &KeygenArgs, output: Output) -> Result<ExitCode, Failure> {
    let kind = match args.kind {
        PersonKey::Ed25519 => KeyKind::Ed25519,
        PersonKey::P256 => KeyKind::P256,
        PersonKey::P384 => KeyKind::P384,
    };
    let (signer, pem) = FileSigner::generate(kind).or_fail(Class::Internal)?;
    let mut public = args.out.clone().into_os_string();
    public.push(".pub");
    let public = PathBuf::from(public);
    create(&args.out, pem.as_bytes(), 0o600)?;
    create(&public, signer.public_key().to_pem().as_bytes(), 0o644)?;
    let made = Made {
        key: args.out.clone(),
        public,
        id: signer.public_key().id().to_string(),
    };
    match output {
        Output::Json => output::json(&made)?,
        Output::Table => output::table(
            &[],
            [
                vec!["key".to_owned(), made.key.display().to_string()],
                vec!["public half".to_owned(), made.public.display().to_string()],
                vec!["id".to_owned(), made.id],
            ],
        )?,
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) fn roster(args: &RosterArgs, output: Output) -> Result<ExitCode, Failure> {
    let mut people: BTreeMap<Name, Person> = BTreeMap::new();
    for (role, entries) in [(Role::Author, &args.author), (Role::Approver, &args.approver)] {
        for entry in entries {
            let (name, file) = entry
                .split_once('=')
                .ok_or_else(|| Failure::text(Class::Usage, format!("{entry:?} is not NAME=FILE")))?;
            let name: Name = name.parse().or_fail(Class::Usage)?;
            let key = public(Path::new(file))?;
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
    create(&args.out, roster.to_string().as_bytes(), 0o644)?;
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

fn public(path: &Path) -> Result<PublicKey, Failure> {
    let text = std::fs::read_to_string(path)
        .or_fail_doing(Class::Usage, format!("cannot read {}", path.display()))?;
    PublicKey::from_pem(&text).or_fail_doing(Class::Input, format!("{} is no public key", path.display()))
}

/// Never over a file that is there.
fn create(path: &Path, bytes: &[u8], mode: u32) -> Result<(), Failure> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)
        .and_then(|mut file| file.write_all(bytes))
        .or_fail_doing(Class::Usage, format!("cannot make {}", path.display()))
}
