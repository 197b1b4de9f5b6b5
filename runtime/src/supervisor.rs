//! Starts the gate, then the front, joins them by a socket pair, and keeps both alive.
//!
//! Each gate gets one end of a fresh pair as its standard input; the other end goes to the front
//! over the front's control socket (its standard input), by `SCM_RIGHTS`. A gate that ends is
//! started again with back-off, unless its exit code says that this would do harm. When the front
//! ends, its gate sees the end of the stream and ends as well. When the supervisor is killed, both
//! die: the kernel tells them, and their sockets end.
//!
//! The front may start no program. When a module is to be judged it asks here for a process that can do
//! nothing else, and gets one end of its socket.
//!
//! The supervisor itself parses no input from the network and holds no secret.

mod backoff;
mod child;
pub mod control;

use std::{
    io,
    net::SocketAddr,
    os::{fd::OwnedFd, unix::net::UnixStream},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tokio::{process::Command, time::Instant};
use tracing::{error, info, warn};

use self::{
    child::{Child, Ended, Event},
    control::{Control, ControlError},
};
use crate::signals::{Request, Signals};

/// The gate's exit code on which nobody starts it again: a refused PIN, a home that is held.
pub const EXIT_STATE: i32 = 7;

/// The exit code of a configuration that cannot work.
pub const EXIT_CONFIG: i32 = 2;

/// How often a front says that it is not hung.
pub const ALIVE_INTERVAL: Duration = Duration::from_secs(5);

/// A front that said nothing for this long is hung: it is killed and started again. The gate has a
/// watchdog of its own.
const FRONT_SILENCE: Duration = Duration::from_secs(60);

/// What the supervisor tells the front.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum ToFront {
    /// A gate was started; its stream comes along.
    Gate {
        /// Starts of a gate before this one.
        restarts: u64,
    },
    /// The gate ended.
    GateEnded {
        /// Why, as far as it said.
        reason: String,
        /// Whether it is started again without an operator.
        restarts: bool,
    },
    /// A process that judges one module; its stream comes along.
    Judge {
        /// As it was asked for.
        ticket: u64,
    },
    /// No such process could be started.
    NoJudge {
        /// As it was asked for.
        ticket: u64,
        /// Why.
        reason: String,
    },
}

/// What the front tells the supervisor.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum FromFront {
    /// It listens.
    Bound(Bound),
    /// It is not hung: said every [`ALIVE_INTERVAL`].
    Alive,
    /// Its readiness changed; no reasons: signing works.
    Readiness {
        /// Against.
        reasons: Vec<String>,
    },
    /// It wants a process that judges one module. There is one at a time: an earlier one is ended.
    Judge {
        /// Names the answer.
        ticket: u64,
    },
}

/// Where the front listens.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct Bound {
    /// gRPC over TLS.
    pub grpc: SocketAddr,
    /// Plain HTTP.
    pub http: SocketAddr,
}

/// What to start, and how to stop.
pub struct Plan {
    /// Makes the gate's command; standard input and output are the supervisor's to set.
    pub gate: Box<dyn Fn() -> Command>,
    /// Makes the front's command; after the first start with the addresses it had.
    pub front: Box<dyn Fn(Option<Bound>) -> Command>,
    /// Makes the command of a process that judges one module: it runs what strangers wrote.
    pub judge: Box<dyn Fn() -> Command>,
    /// A descriptor that the gate alone inherits, for its PIN.
    pub gate_descriptor: Option<i32>,
    /// Exit codes of a gate that was never ready, on which everything ends with that code.
    pub end_with: Vec<i32>,
    /// How long the front may take to end, and then the gate.
    pub drain: Duration,
    /// Called once, when signing works for the first time.
    pub on_ready: Box<dyn FnMut(Bound)>,
}

impl std::fmt::Debug for Plan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Plan")
            .field("drain", &self.drain)
            .finish_non_exhaustive()
    }
}

/// Runs until a signal stops it or a child's first start fails. Returns the exit code.
///
/// Call it in a runtime of the main thread: the kernel's notice of a parent's death is about
/// the thread that started the child.
///
/// # Errors
/// When a child cannot be started at all.
pub async fn run(plan: Plan, signals: &mut Signals) -> Result<i32, SupervisorError> {
    let mut supervisor = Supervisor::new(plan);
    let outcome = supervisor.supervise(signals).await;
    supervisor.stop().await;
    outcome
}

struct Supervisor {
    plan: Plan,
    gate: Child,
    front: Child,
    judge: Child,
    control: Option<Control>,
    /// The front's end of the newest gate's pair, until it is handed over.
    stream: Option<OwnedFd>,
    bound: Option<Bound>,
    was_ready: bool,
    /// When a front that says nothing counts as hung.
    silence: Option<Instant>,
    gate_starts: u64,
}

impl Supervisor {
    fn new(plan: Plan) -> Self {
        Self {
            plan,
            gate: Child::new("gate"),
            front: Child::new("front"),
            judge: Child::new("judge"),
            control: None,
            stream: None,
            bound: None,
            was_ready: false,
            silence: None,
            gate_starts: 0,
        }
    }

    async fn supervise(&mut self, signals: &mut Signals) -> Result<i32, SupervisorError> {
        self.start_gate()?;
        self.start_front()?;
        self.hand_over().await;
        loop {
            tokio::select! {
                request = signals.next() => match request {
                    Request::Stop => return Ok(0),
                    Request::Reload => self.reload(),
                },
                event = self.gate.event() => match event {
                    Event::Ended(ended) => {
                        if let Some(code) = self.gate_ended(&ended).await {
                            return Ok(code);
                        }
                    }
                    Event::Due => {
                        self.start_gate()?;
                        self.hand_over().await;
                    }
                },
                event = self.front.event() => match event {
                    Event::Ended(ended) => {
                        if let Some(code) = self.front_ended(&ended) {
                            return Ok(code);
                        }
                    }
                    Event::Due => {
                        self.start_front()?;
                        self.hand_over().await;
                    }
                },
                event = self.judge.event() => if let Event::Ended(ended) = event {
                    info!(how = %ended, "the process that judged a module ended");
                },
                message = control::receive(self.control.as_ref()) => self.heard(message).await,
                () = until(self.silence) => {
                    error!("the front is hung, killing it");
                    self.silence = None;
                    self.front.kill();
                }
            }
        }
    }

    fn start_gate(&mut self) -> Result<(), SupervisorError> {
        let failed = |source| SupervisorError::Start { name: "gate", source };
        let (gates, fronts) = UnixStream::pair().map_err(failed)?;
        let mut command = (self.plan.gate)();
        let inherit = |inherited| {
            self.plan
                .gate_descriptor
                .map_or(Ok(()), |number| crate::process::set_inherited(number, inherited))
        };
        inherit(true).map_err(failed)?;
        let started = self.gate.start(&mut command, gates.into());
        inherit(false).map_err(failed)?;
        started.map_err(failed)?;
        self.stream = Some(fronts.into());
        self.gate_starts += 1;
        Ok(())
    }

    fn start_front(&mut self) -> Result<(), SupervisorError> {
        let failed = |source| SupervisorError::Start {
            name: "front",
            source,
        };
        let (ours, theirs) = control::pair().map_err(failed)?;
        let mut command = (self.plan.front)(self.bound);
        self.front.start(&mut command, theirs).map_err(failed)?;
        self.control = Some(Control::new(ours).map_err(failed)?);
        Ok(())
    }

    /// Gives the front the newest gate's stream: it hears the gate's first word before it binds a port.
    async fn hand_over(&mut self) {
        let Some(control) = &self.control else {
            return;
        };
        let Some(stream) = self.stream.take() else {
            return;
        };
        let message = ToFront::Gate {
            restarts: self.gate_starts.saturating_sub(1),
        };
        if let Err(error) = control.send(&message, Some(&stream)).await {
            warn!(error = %crate::Chain(&error), "the front did not take the gate's stream");
        }
    }

    /// The module is handed over by the front: nothing of it passes here.
    async fn start_judge(&mut self, ticket: u64) {
        self.judge.end_now().await;
        let started = UnixStream::pair().and_then(|(judges, fronts)| {
            self.judge.start(&mut (self.plan.judge)(), judges.into())?;
            Ok(OwnedFd::from(fronts))
        });
        let Some(control) = &self.control else {
            return;
        };
        let sent = match started {
            Ok(stream) => control.send(&ToFront::Judge { ticket }, Some(&stream)).await,
            Err(error) => {
                warn!(error = %crate::Chain(&error), "a process that judges modules cannot be started");
                let reason = error.to_string();
                control.send(&ToFront::NoJudge { ticket, reason }, None).await
            }
        };
        if let Err(error) = sent {
            warn!(error = %crate::Chain(&error), "the front did not take the judge's stream");
        }
    }

    async fn heard(&mut self, message: Result<Option<FromFront>, ControlError>) {
        self.silence = Some(Instant::now() + FRONT_SILENCE);
        match message {
            Ok(Some(FromFront::Alive)) => {}
            Ok(Some(FromFront::Judge { ticket })) => self.start_judge(ticket).await,
            Ok(Some(FromFront::Bound(bound))) => {
                info!(grpc = %bound.grpc, http = %bound.http, "the front listens");
                self.bound = Some(bound);
            }
            Ok(Some(FromFront::Readiness { reasons })) => {
                if reasons.is_empty() {
                    info!("ready");
                } else {
                    info!(?reasons, "not ready");
                }
                if let (true, false, Some(bound)) = (reasons.is_empty(), self.was_ready, self.bound) {
                    self.was_ready = true;
                    (self.plan.on_ready)(bound);
                }
            }
            // The end of the socket announces the end of the front.
            Ok(None) => self.control = None,
            Err(error) => {
                warn!(error = %crate::Chain(&error), "the front's control socket failed");
                self.control = None;
                // Without it a front gets no gate: it is of no use, and a new one is.
                self.front.kill();
            }
        }
    }

    async fn gate_ended(&mut self, ended: &Ended) -> Option<i32> {
        self.stream = None;
        let restarts = ended.code != Some(EXIT_STATE) && ended.code != Some(EXIT_CONFIG);
        error!(how = %ended, restarts, "the gate ended");
        if let Some(code) = ended.code.filter(|code| self.plan.end_with.contains(code))
            && !self.was_ready
        {
            return Some(code);
        }
        if restarts {
            self.gate.restart_later();
        }
        if let Some(control) = &self.control {
            let message = ToFront::GateEnded {
                reason: ended.to_string(),
                restarts,
            };
            // Should it be lost, the end of the stream says the same.
            let _lost = control.send(&message, None).await;
        }
        None
    }

    fn front_ended(&mut self, ended: &Ended) -> Option<i32> {
        self.control = None;
        self.silence = None;
        error!(how = %ended, "the front ended");
        self.judge.kill();
        if self.bound.is_none() {
            // It never listened: a second try would end the same way.
            return Some(ended.code.filter(|&code| code != 0).unwrap_or(EXIT_INTERNAL));
        }
        self.front.restart_later();
        // The gate whose stream went with the front ends by itself; one that waits is still good.
        if self.stream.is_none() {
            self.gate.ask_to_end();
        }
        None
    }

    fn reload(&mut self) {
        info!("reloading");
        self.front.reload();
        self.gate.reload();
        // An operator's word lets a gate try again that ended for good.
        self.gate.restart_now();
    }

    async fn stop(&mut self) {
        self.judge.kill();
        self.front.ask_to_end();
        self.front.finish(self.plan.drain).await;
        self.judge.end_now().await;
        self.control = None;
        self.stream = None;
        self.gate.ask_to_end();
        self.gate.finish(self.plan.drain).await;
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// The exit code of a fault of ours.
pub const EXIT_INTERNAL: i32 = 70;

/// Why there is nothing to supervise.
#[derive(Debug, thiserror::Error)]
pub enum SupervisorError {
    /// A process could not be started.
    #[error("cannot start the {name}")]
    Start {
        /// Which.
        name: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
}

#[cfg(test)]
mod tests;
