//! `sealwright check`: every precondition of a start, with a tick or the fix.
//!
//! What needs the PKCS#11 module runs in a child with the gate's environment, as the gate does, and
//! at most one login is made: none when the token or a marker speaks against it, none while a signer
//! runs.

mod files;
mod item;
mod system;
mod token;

use std::{
    process::{ExitCode, Stdio},
    time::Duration,
};

use sealwright_gate::config::Confine;
use sealwright_runtime::process::confinement::Confinement;

use self::item::{Item, State};
pub(crate) use self::system::SPARE_DESCRIPTORS;
use crate::{
    args::At,
    failure::{Class, Failure, OrFail},
    files::own_program,
    output::{self, Output},
    progress::Spinner,
    settings::{self, Loaded},
};

/// How long the token may take: a login and a signature are seconds on a slow one.
const TOKEN_DEADLINE: Duration = Duration::from_secs(60);

pub(crate) fn run(at: &At, output: Output) -> Result<ExitCode, Failure> {
    let loaded = match settings::load(&at.config, &[]) {
        Ok(loaded) => loaded,
        Err(failure) => {
            let item = Item::failed(
                "configuration",
                failure.to_string(),
                "mend the file, then check again",
            );
            print(&[item], output)?;
            return Ok(ExitCode::from(Class::Usage.code()));
        }
    };
    let spinner = Spinner::start("checking");
    let mut items = vec![Item::good("configuration", loaded.file.display())];
    let home = system::home(&loaded);
    let held = home.state == State::Held;
    items.push(home);
    items.extend(files::check(&loaded));
    spinner.say("checking the token");
    items.extend(token_in_child(&loaded, held));
    spinner.say("checking the system");
    items.extend(system::check(&loaded, held));
    spinner.done();
    print(&items, output)?;
    let class = items
        .iter()
        .filter(|item| item.state == State::Failed)
        .map(|item| item.class)
        .max();
    Ok(class.map_or(ExitCode::SUCCESS, ExitCode::from))
}

/// The part that runs in the gate's environment; prints its items as one line of JSON.
pub(crate) fn in_gate(loaded: &Loaded, held: bool, confinement: &Confinement) -> Result<ExitCode, Failure> {
    let mut items = vec![confined(loaded, confinement)];
    items.extend(token::check(loaded, held));
    output::json(&items)?;
    Ok(ExitCode::SUCCESS)
}

/// What the module that is checked next does without.
fn confined(loaded: &Loaded, confinement: &Confinement) -> Item {
    let name = "confinement";
    if loaded.settings.gate.confinement.mode == Confine::Off {
        let fix = "leave gate.confinement.mode out, unless the module needs more than it can be given";
        return Item::warning(name, "none, as configured", fix);
    }
    if confinement.is_partial() {
        let fix = "use a kernel with Landlock and system call filters";
        return Item::warning(name, confinement, fix);
    }
    Item::good(name, confinement)
}

fn token_in_child(loaded: &Loaded, held: bool) -> Vec<Item> {
    match ask_child(loaded, held) {
        Ok(items) => items,
        Err(failure) => vec![Item::failed(
            "PKCS#11 module",
            failure.to_string(),
            "see gate.token.module and [gate.env]: the module ended or hangs in a process of its own",
        )],
    }
}

fn ask_child(loaded: &Loaded, held: bool) -> Result<Vec<Item>, Failure> {
    let mut command = tokio::process::Command::new(own_program()?);
    command.args(["gate", "--check", "--config"]).arg(&loaded.file);
    if held {
        command.arg("--held");
    }
    command
        .env_clear()
        .envs(crate::environment::overrides())
        .envs(&loaded.settings.gate.env)
        .current_dir(&loaded.base)
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .or_fail(Class::Internal)?;
    let output = runtime.block_on(async {
        tokio::time::timeout(TOKEN_DEADLINE, command.output())
            .await
            .or_fail_doing(Class::Unavailable, "no answer from the module in a minute")?
            .or_fail(Class::Internal)
    })?;
    serde_json::from_slice(&output.stdout).or_fail_doing(
        Class::Internal,
        format!(
            "{}: {}",
            output.status,
            String::from_utf8_lossy(&output.stderr).trim()
        ),
    )
}

fn print(items: &[Item], output: Output) -> Result<(), Failure> {
    match output {
        Output::Json => items.iter().try_for_each(output::json),
        Output::Table => output::table(&["", "check", "found", "fix"], items.iter().map(Item::cells)),
    }
}
