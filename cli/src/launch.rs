//! Starts the supervisor over a gate and a front of this same program: what `serve` and `dev` share.

use std::{
    cell::RefCell,
    fs,
    net::SocketAddr,
    os::unix::fs::{DirBuilderExt, lchown},
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use sealwright_gate::{config::Boundary as Configured, issuers::Issuers, server::Home};
use sealwright_hsm::softhsm::TokenFolder;
use sealwright_identity::{Clock, SystemClock};
use sealwright_runtime::{
    process::{
        self,
        boundary::{self, Boundary, Wanted},
        landlock::Paths,
    },
    signals::Signals,
    supervisor::{self, Bound, EXIT_CONFIG, EXIT_STATE, Plan},
    telemetry,
};
use tokio::process::Command;
use tracing::{info, warn};

use crate::{
    check::SPARE_DESCRIPTORS,
    dev::home::Home as DevHome,
    environment,
    failure::{Class, Failure, OrFail},
    files, front,
    settings::{self, Loaded},
};

/// Beyond the front's own deadline, before it is killed.
const DRAIN_MARGIN: Duration = Duration::from_secs(5);

/// What to run.
pub(crate) struct Launch {
    pub(crate) config: PathBuf,
    pub(crate) listen: Option<SocketAddr>,
    pub(crate) http: Option<SocketAddr>,
    /// Whether a gate that is refused at its first start ends everything.
    pub(crate) end_when_refused: bool,
    /// Called when signing works for the first time.
    pub(crate) on_ready: Box<dyn FnMut(Bound)>,
}

/// As far as it goes; where that is not far enough, connections are refused before their limit.
fn raise_open_files(loaded: &Loaded) -> u64 {
    let open_files = process::raise_open_files();
    let connections = u64::try_from(loaded.settings.server.max_connections).unwrap_or(u64::MAX);
    let needed = connections.saturating_add(SPARE_DESCRIPTORS);
    if open_files < needed {
        warn!(
            open_files,
            needed,
            "too few open files for server.max_connections: raise the hard limit (LimitNOFILE=), or lower it"
        );
    }
    open_files
}

/// Runs until a signal ends it.
pub(crate) fn run(launch: Launch) -> Result<ExitCode, Failure> {
    process::keep_descriptors_private().or_fail(Class::Internal)?;
    process::harden().or_fail(Class::Internal)?;
    let loaded = settings::load(&launch.config, &flags(launch.listen, launch.http))?;
    telemetry::init(&loaded.settings.log).or_fail(Class::Usage)?;
    let open_files = raise_open_files(&loaded);

    if let Some(socket) = &loaded.settings.gate.socket {
        info!(open_files, "limits");
        return front::run_alone(&loaded, socket);
    }

    // What can be known before a process is started is said now, with the right exit code.
    Issuers::load(&loaded.settings.gate_file(), SystemClock.now()).or_fail(Class::Usage)?;
    // Held by somebody else: said at once. The gate takes the lock for good.
    drop(Home::try_lock(&loaded.settings.gate.home).or_fail(Class::State)?);

    let boundary = choose_boundary(&loaded)?;
    let user = match &boundary {
        Boundary::Users { uid, gid } => Some((*uid, *gid)),
        // An earlier start may have given it to another user.
        _ if rustix::process::geteuid().is_root() => Some((0, 0)),
        _ => None,
    };
    prepare_state(&loaded, user)?;
    match &boundary {
        Boundary::None { .. } => warn!(%boundary, open_files, "starting"),
        _ => info!(%boundary, open_files, "starting"),
    }
    let plan = plan(launch, &loaded, &boundary)?;
    // One thread: the children's notice of our death is about the thread that started them.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .or_fail(Class::Internal)?;
    let code = runtime.block_on(async {
        let mut signals = Signals::install().or_fail(Class::Internal)?;
        supervisor::run(plan, &mut signals).await.or_fail(Class::Internal)
    })?;
    Ok(ExitCode::from(u8::try_from(code).unwrap_or(70)))
}

/// The flags over the file.
pub(crate) fn flags(listen: Option<SocketAddr>, http: Option<SocketAddr>) -> Vec<(&'static str, String)> {
    let listen = listen.map(|address| ("server.listen", address.to_string()));
    let http = http.map(|address| ("http.listen", address.to_string()));
    listen.into_iter().chain(http).collect()
}

fn plan(launch: Launch, loaded: &Loaded, boundary: &Boundary) -> Result<Plan, Failure> {
    let program = files::own_program()?;
    let me = std::process::id().to_string();
    let gate = {
        let (program, loaded, me) = (program.clone(), loaded.clone(), me.clone());
        move || {
            let mut command = Command::new(&program);
            command
                .args(["gate", "--supervisor", &me, "--config"])
                .arg(&loaded.file);
            if loaded.settings.gate.env_file.is_none() {
                command.arg("--prepared");
            }
            // The gate's environment is what the configuration says, and nothing that leaks into it.
            command
                .env_clear()
                .envs(environment::overrides())
                .envs(&loaded.settings.gate.env);
            command.current_dir(&loaded.base);
            command
        }
    };
    let boundary_text = serde_json::to_string(boundary).or_fail(Class::Internal)?;
    let user = match boundary {
        Boundary::Users { uid, gid } => Some((*uid, *gid)),
        _ => None,
    };
    let judge = {
        let (program, me) = (program.clone(), me.clone());
        move || {
            let mut command = Command::new(&program);
            command.args(["policy", "admit", "--confined", "--supervisor", &me]);
            command.env_clear().current_dir("/");
            // It has no folder of its own, and reads none.
            if let Some((uid, gid)) = user {
                command.uid(uid).gid(gid);
            }
            command
        }
    };
    let (listen, http, config) = (launch.listen, launch.http, loaded.file.clone());
    let fronts = loaded.settings.server.env.clone();
    let front = move |bound: Option<Bound>| {
        let mut command = Command::new(&program);
        command
            .args([
                "front",
                "--supervisor",
                &me,
                "--boundary",
                &boundary_text,
                "--config",
            ])
            .arg(&config);
        // A second start takes the ports of the first, also where the system chose them.
        let addresses = [
            ("--listen", bound.map(|bound| bound.grpc).or(listen)),
            ("--http", bound.map(|bound| bound.http).or(http)),
        ];
        for (flag, address) in addresses {
            if let Some(address) = address {
                command.arg(flag).arg(address.to_string());
            }
        }
        command.env_clear().envs(environment::front()).envs(&fronts);
        command.current_dir("/");
        if let Some((uid, gid)) = user {
            command.uid(uid).gid(gid);
        }
        command
    };
    let mut end_with = vec![EXIT_CONFIG];
    if launch.end_when_refused {
        end_with.push(EXIT_STATE);
    }
    let on_ready = RefCell::new(launch.on_ready);
    Ok(Plan {
        gate: Box::new(gate),
        front: Box::new(front),
        judge: Box::new(judge),
        gate_descriptor: loaded
            .settings
            .gate
            .token
            .pin_fd
            .and_then(|fd| i32::try_from(fd).ok()),
        end_with,
        drain: loaded.settings.server.drain_timeout.get() + DRAIN_MARGIN,
        on_ready: Box::new(move |bound| (on_ready.borrow_mut())(bound)),
    })
}

/// What will separate the front from the gate.
pub(crate) fn choose_boundary(loaded: &Loaded) -> Result<Boundary, Failure> {
    let gate = &loaded.settings.gate;
    let wanted = match gate.boundary {
        Configured::Auto => Wanted::Auto,
        Configured::Users => Wanted::Users,
        Configured::Landlock => Wanted::Landlock,
        Configured::None => Wanted::None,
    };
    let paths = front_paths(loaded);
    boundary::choose(wanted, gate.front_user.as_deref(), &paths, &files::own_program()?).or_fail(Class::Usage)
}

/// What the front reads and writes where another user keeps it from the gate's files: whole folders, so
/// that a file put in another's place can be read at a reload, also beside a secret.
pub(crate) fn front_folders(loaded: &Loaded) -> Paths {
    paths(loaded, &[])
}

/// What the front reads, writes, and must not reach.
pub(crate) fn front_paths(loaded: &Loaded) -> Paths {
    let secret = secrets(loaded);
    Paths {
        secret: secret.clone(),
        ..paths(loaded, &secret)
    }
}

fn paths(loaded: &Loaded, secret: &[PathBuf]) -> Paths {
    let settings = &loaded.settings;
    let mut settings_paths = settings.clone();
    let authenticators = settings_paths.authenticators.iter_mut();
    let keys: Vec<PathBuf> = authenticators
        .flat_map(|a| a.paths_mut().map(|p| p.clone()))
        .collect();
    let files = std::iter::once(&loaded.file)
        .chain(
            settings
                .issuers
                .iter()
                .flat_map(|issuer| [&issuer.chain, &issuer.roots]),
        )
        .chain(settings.policies.iter().map(|policy| &policy.module))
        .chain(&keys);
    let mut read: Vec<PathBuf> = files.map(|file| readable(file, secret)).collect();
    read.sort();
    read.dedup();
    Paths {
        read,
        write: vec![settings.server.state.clone()],
        secret: Vec::new(),
    }
}

/// The folder of a file, so that a file put in its place is readable too; the file alone where the
/// folder holds a secret or is one of the system's own.
fn readable(file: &Path, secret: &[PathBuf]) -> PathBuf {
    match file.parent() {
        Some(folder)
            if folder.components().count() > 2 && !secret.iter().any(|secret| secret.starts_with(folder)) =>
        {
            folder.to_owned()
        }
        _ => file.to_owned(),
    }
}

fn secrets(loaded: &Loaded) -> Vec<PathBuf> {
    let gate = &loaded.settings.gate;
    let tokens = gate.env.get("SOFTHSM2_CONF").and_then(|conf| {
        let folder = TokenFolder::from_config(&loaded.base.join(conf)).ok()?;
        Some(loaded.base.join(folder.tokens()))
    });
    let development = DevHome::at(&loaded.base).secrets();
    [gate.home.clone()]
        .into_iter()
        .chain(gate.token.pin_file.clone())
        .chain(gate.env_file.clone())
        .chain(tokens)
        .chain(development.into_iter().filter(|path| path.exists()))
        .collect()
}

/// Makes the front's state folder, and gives it to a user.
pub(crate) fn prepare_state(loaded: &Loaded, user: Option<(u32, u32)>) -> Result<(), Failure> {
    let state = &loaded.settings.server.state;
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(state)
        .or_fail_doing(
            Class::Usage,
            format!("server.state: cannot make {}", state.display()),
        )?;
    let Some((uid, gid)) = user else {
        return Ok(());
    };
    let give = || -> std::io::Result<()> {
        for entry in fs::read_dir(state)? {
            lchown(entry?.path(), Some(uid), Some(gid))?;
        }
        lchown(state, Some(uid), Some(gid))
    };
    give().or_fail_doing(
        Class::Usage,
        format!("server.state: cannot give {} to user {uid}", state.display()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_readable_whole_unless_it_holds_a_secret() {
        let secret = [PathBuf::from("/srv/home/pin"), PathBuf::from("/srv/home/gate")];
        let readable = |file: &str| readable(Path::new(file), &secret);
        assert_eq!(readable("/srv/home/roots.pem"), Path::new("/srv/home/roots.pem"));
        assert_eq!(
            readable("/srv/home/policies/a.wasm"),
            Path::new("/srv/home/policies")
        );
        assert_eq!(readable("/srv/a.pem"), Path::new("/srv/a.pem"), "not all of /srv");
    }

    #[test]
    fn flags_go_over_the_file_by_their_keys() {
        let listen = Some(SocketAddr::from(([127, 0, 0, 1], 7)));
        assert_eq!(flags(listen, None), [("server.listen", "127.0.0.1:7".to_owned())]);
    }
}
