//! The process with the network: under a supervisor (`sealwright front`), or alone, before a gate that
//! listens on a named socket (`sealwright serve` with `gate.socket`).

use std::{os::unix::net::UnixStream, path::Path, process::ExitCode, sync::Arc, time::Duration};

use parking_lot::Mutex;
use sealwright_gate::client::dial;
use sealwright_identity::SystemClock;
use sealwright_runtime::{
    Chain,
    metrics::Metrics,
    process::{
        self,
        boundary::Boundary,
        landlock,
        seccomp::{self, Calls, Sockets},
    },
    readiness::Readiness,
    signals::{Request, Signals},
    supervisor::{
        ALIVE_INTERVAL, Bound, FromFront,
        control::{Link, News},
    },
    telemetry,
};
use sealwright_signer::{
    App, Plumbing, SignerConfig,
    app::Reloader,
    authn::Trust,
    policies::{JudgeWanted, Judges},
};
use tokio::{runtime::Runtime, sync::mpsc};
use tracing::{error, info, warn};

use crate::{
    args::FrontArgs,
    failure::{Class, Failure, OrFail},
    launch, memory,
    settings::{self, Loaded, Settings},
};

/// A gate opens its token in milliseconds, or refuses it; one that is away is not waited for longer.
const GATE_FIRST: Duration = Duration::from_secs(4);

/// Under a supervisor, which hands over the gates' streams.
pub(crate) fn run(args: &FrontArgs) -> Result<ExitCode, Failure> {
    process::harden().or_fail(Class::Internal)?;
    process::die_with_parent(args.supervisor).or_fail(Class::Internal)?;
    let socket = process::take_stdin().or_fail(Class::Internal)?;
    let loaded = settings::load(&args.config, &launch::flags(args.listen, args.http))?;
    telemetry::init(&loaded.settings.log).or_fail(Class::Usage)?;
    let boundary = serde_json::from_str(&args.boundary).or_fail_doing(Class::Internal, "--boundary")?;
    // Before there is a second thread, and before anything is read from the network.
    confine(&boundary, &loaded)?;
    runtime()?.block_on(async {
        let link = Link::new(socket).or_fail_doing(Class::Internal, "no supervisor")?;
        supervised(&loaded.settings, link).await
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Before a gate that somebody else starts, as another user, and that listens on `socket`.
pub(crate) fn run_alone(loaded: &Loaded, socket: &Path) -> Result<ExitCode, Failure> {
    launch::prepare_state(loaded, None)?;
    let wanted = Boundary::Users {
        uid: rustix::process::geteuid().as_raw(),
        gid: rustix::process::getegid().as_raw(),
    };
    info!(gate = %socket.display(), "starting before a gate that runs by itself");
    confine(&wanted, loaded)?;
    runtime()?.block_on(async {
        let mut signals = Signals::install().or_fail(Class::Internal)?;
        // It may start no program, and nobody starts one for it.
        let plumbing = plumbing(None);
        let app = App::build(signer_config(&loaded.settings), dial(socket.to_owned()), plumbing)
            .await
            .or_fail(Class::Usage)?;
        memory::give_back();
        let reloader = app.reloader();
        let stop = async move { heed(&mut signals, &reloader).await };
        app.run(stop).await.or_fail(Class::Internal)
    })?;
    Ok(ExitCode::SUCCESS)
}

fn runtime() -> Result<Runtime, Failure> {
    tokio::runtime::Builder::new_multi_thread()
        .thread_name("front")
        .enable_all()
        .build()
        .or_fail(Class::Internal)
}

fn plumbing(judges: Option<Judges>) -> Plumbing {
    Plumbing {
        clock: Arc::new(SystemClock),
        metrics: Metrics::new(),
        readiness: Readiness::new(),
        gate_first: GATE_FIRST,
        judges,
    }
}

fn confine(boundary: &Boundary, loaded: &Loaded) -> Result<(), Failure> {
    let calls = Calls {
        sockets: Sockets::Internet,
        processes: false,
    };
    if let Err(error) = seccomp::refuse(calls) {
        warn!(why = %Chain(&error), "the front's system calls are not confined");
    }
    let confined = match boundary {
        Boundary::None { .. } => return Ok(()),
        Boundary::Users { .. } => landlock::confine(&launch::front_folders(loaded)),
        Boundary::Landlock { .. } => landlock::confine(&launch::front_paths(loaded)),
    };
    match (confined, boundary) {
        (Ok(()), _) => {}
        // The users are the boundary: Landlock is one more where there is one.
        (Err(error), Boundary::Users { .. }) => info!(why = %Chain(&error), "no Landlock on top"),
        (Err(error), _) => {
            return Err(error).or_fail_doing(Class::Internal, "the front cannot be confined");
        }
    }
    process::drop_capabilities().or_fail(Class::Internal)
}

async fn supervised(settings: &Settings, link: Link) -> Result<(), Failure> {
    let mut signals = Signals::install_supervised().or_fail(Class::Internal)?;
    let (streams, received) = mpsc::channel::<UnixStream>(4);
    let (wanted, wants) = mpsc::channel(1);
    let plumbing = plumbing(Some(Judges::new(wanted)));
    let readiness = plumbing.readiness.clone();
    let link = Arc::new(link);
    let judges = Arc::new(Tickets::default());
    tokio::spawn(ask_for_judges(Arc::clone(&link), Arc::clone(&judges), wants));
    let gates = {
        let (link, readiness) = (Arc::clone(&link), readiness.clone());
        tokio::spawn(async move { follow(&link, &streams, &readiness, &judges).await })
    };
    let app = tokio::select! {
        built = App::build(signer_config(settings), received, plumbing) => built.or_fail(Class::Usage)?,
        // The gate refused the configuration: nothing was bound, and nothing is.
        () = told_to_stop(&mut signals) => return Ok(()),
    };
    memory::give_back();
    let (bound, reloader) = (app.bound(), app.reloader());
    link.tell(&FromFront::Bound(Bound {
        grpc: bound.grpc,
        http: bound.http,
    }))
    .await
    .or_fail_doing(Class::Internal, "the supervisor is gone")?;

    tokio::spawn(report_readiness(Arc::clone(&link), readiness));
    tokio::spawn(report_alive(link));
    let stop = async move {
        tokio::select! {
            () = heed(&mut signals, &reloader) => {}
            _ = gates => error!("the supervisor is gone"),
        }
    };
    app.run(stop).await.or_fail(Class::Internal)
}

/// Before there is anything to reload.
async fn told_to_stop(signals: &mut Signals) {
    while signals.next().await == Request::Reload {}
}

/// Until the word to stop.
async fn heed(signals: &mut Signals, reloader: &Reloader) {
    while signals.next().await == Request::Reload {
        match reloader.reload().await {
            Ok(()) => info!("reloaded"),
            Err(error) => warn!(error = %Chain(&error), "nothing was reloaded, the old stays"),
        }
        memory::give_back();
    }
}

/// Who waits for a process that judges a module, by the newest ticket.
#[derive(Debug, Default)]
struct Tickets(Mutex<(u64, Option<JudgeWanted>)>);

impl Tickets {
    /// There is one at a time: who waited before is not answered any more.
    fn next(&self, wanted: JudgeWanted) -> u64 {
        let mut tickets = self.0.lock();
        *tickets = (tickets.0 + 1, Some(wanted));
        tickets.0
    }

    fn answer(&self, ticket: u64, stream: Result<UnixStream, String>) {
        let mut tickets = self.0.lock();
        if tickets.0 == ticket
            && let Some(wanted) = tickets.1.take()
        {
            // Who does not wait any more lets the stream go, and with it the process.
            let _late = wanted.send(stream);
        }
    }
}

async fn ask_for_judges(link: Arc<Link>, tickets: Arc<Tickets>, mut wants: mpsc::Receiver<JudgeWanted>) {
    while let Some(wanted) = wants.recv().await {
        let ticket = tickets.next(wanted);
        if link.tell(&FromFront::Judge { ticket }).await.is_err() {
            return;
        }
    }
}

/// Hands each new gate's stream on, and those of judges, until the supervisor is gone.
async fn follow(link: &Link, streams: &mpsc::Sender<UnixStream>, readiness: &Readiness, judges: &Tickets) {
    let process = readiness.condition("gate process", "it has not been started yet");
    loop {
        match link.news().await {
            Ok(Some(News::Gate { stream, restarts })) => {
                info!(restarts, "a gate was started");
                process.ready();
                if streams.send(stream).await.is_err() {
                    return;
                }
            }
            Ok(Some(News::Judge { ticket, stream })) => judges.answer(ticket, stream),
            Ok(Some(News::GateEnded {
                reason,
                restarts: true,
            })) => process.not_ready(reason),
            Ok(Some(News::GateEnded {
                reason,
                restarts: false,
            })) => {
                process.not_ready(format!("{reason}; it is not started again until SIGHUP"));
            }
            Ok(None) => return,
            Err(error) => {
                error!(error = %Chain(&error), "the control socket failed");
                return;
            }
        }
    }
}

async fn report_readiness(link: Arc<Link>, readiness: Readiness) {
    let mut changes = readiness.watch();
    let mut reasons = readiness.reasons();
    let mut told = None;
    loop {
        if told.as_ref() != Some(&reasons) {
            told = Some(reasons.clone());
            if link.tell(&FromFront::Readiness { reasons }).await.is_err() {
                return;
            }
        }
        reasons = changes.changed().await;
    }
}

/// As long as this runtime runs its tasks, the supervisor hears of it.
async fn report_alive(link: Arc<Link>) {
    loop {
        tokio::time::sleep(ALIVE_INTERVAL).await;
        if link.tell(&FromFront::Alive).await.is_err() {
            return;
        }
    }
}

fn signer_config(settings: &Settings) -> SignerConfig {
    SignerConfig {
        trust: Trust {
            domain: settings.trust_domain.clone(),
            aliases: settings.trust_domain_aliases.clone(),
        },
        default_issuer: settings.default_issuer.clone(),
        server: settings.server.clone(),
        http: settings.http.listen,
        authenticators: settings
            .authenticators
            .iter()
            .cloned()
            .map(|mut authenticator| {
                authenticator.hands_over = settings.gate.wants_token_of(&authenticator.name);
                authenticator
            })
            .collect(),
        issuers: settings.issuers.clone(),
        policies: settings.policies.clone(),
        policy_host: settings.policy_host.clone(),
        policy_roles: settings.policy_roles.clone(),
    }
}
