//! The load: so many callers over so many connections, as fast as answers come or at a rate.

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use tokio::{
    sync::{Semaphore, watch},
    task::JoinSet,
    time::{Instant, sleep},
};
use tonic::transport::Channel;

use super::{
    caller::{Caller, Clock, Counted, ask_once},
    latency::Latencies,
};
use crate::{
    args::BenchArgs,
    failure::{Class, Failure, OrFail},
    issue::{
        call::{Credentials, connect},
        key::WorkloadKey,
    },
};

/// Requests made before: their keys and signatures are no part of the figures.
const REQUESTS: usize = 32;

const WARM_UP: Duration = Duration::from_secs(1);

/// Callers of an open load: arrivals that find all of them busy are late, and it is counted.
const OPEN_CALLERS: usize = 512;

/// Idle connections that are opened at once.
const OPENING: usize = 64;

/// Latencies that are kept; beyond, a run is too long to be held in memory.
const MAX_SAMPLES: usize = 20_000_000;

/// Whom to ask, and as whom.
pub(super) struct Target {
    server: String,
    callers: Vec<Credentials>,
}

impl Target {
    pub(super) fn one(server: &str, credentials: Credentials) -> Self {
        Self::several(server, vec![credentials])
    }

    pub(super) fn several(server: &str, callers: Vec<Credentials>) -> Self {
        Self {
            server: server.to_owned(),
            callers,
        }
    }
}

/// When the next request is sent.
#[derive(Clone, Copy, Debug)]
pub(super) enum Pace {
    /// When an answer has come.
    Answers,
    /// So many a second, whatever was answered.
    Arrivals(f64),
}

pub(super) struct Load {
    server: String,
    credentials: Arc<[Credentials]>,
    requests: Arc<[String]>,
    in_flight: usize,
    connections: usize,
    stream: Option<usize>,
    duration: Duration,
}

impl Load {
    pub(super) fn prepare(args: &BenchArgs, target: Target) -> Result<Self, Failure> {
        let requests = (0..REQUESTS).map(|_| WorkloadKey::generate(args.key_type)?.csr_pem());
        Ok(Self {
            server: target.server,
            credentials: target.callers.into(),
            requests: requests.collect::<Result<_, _>>()?,
            in_flight: args.in_flight.max(1),
            connections: args.connections.max(1),
            stream: args.stream,
            duration: args.duration.get(),
        })
    }

    async fn channel(&self) -> Result<Channel, Failure> {
        let any = self
            .credentials
            .first()
            .ok_or_else(|| Failure::text(Class::Internal, "there is no caller"))?;
        connect(&self.server, any).await
    }

    /// Opens connections on which somebody was authenticated once, and holds them.
    pub(super) async fn open_idle(&self, count: usize) -> Result<Vec<Channel>, Failure> {
        let places = Arc::new(Semaphore::new(OPENING));
        let mut opening = JoinSet::new();
        for number in 0..count {
            let place = Arc::clone(&places).acquire_owned().await;
            let (server, credentials) = (self.server.clone(), Arc::clone(&self.credentials));
            let requests = Arc::clone(&self.requests);
            opening.spawn(async move {
                let _place = place;
                let credentials = pick(&credentials, number)?;
                let channel = connect(&server, credentials).await?;
                let request = requests.iter().cycle().nth(number % REQUESTS);
                ask_once(&channel, credentials, request.map_or("", String::as_str)).await?;
                Ok::<_, Failure>(channel)
            });
        }
        let mut held = Vec::with_capacity(count);
        while let Some(channel) = opening.join_next().await {
            held.push(channel.or_fail(Class::Internal)??);
        }
        Ok(held)
    }

    /// Connects, and starts every caller.
    pub(super) async fn start(&self, pace: Pace) -> Result<Running, Failure> {
        let (phase, phases) = watch::channel(Phase::WarmUp);
        let (number, clock) = match pace {
            Pace::Answers => (self.in_flight, None),
            Pace::Arrivals(rate) => {
                let clock = Clock {
                    start: Instant::now(),
                    rate: rate.max(1.0),
                    next: Arc::new(AtomicU64::new(0)),
                };
                (OPEN_CALLERS, Some(clock))
            }
        };
        let mut channels = Vec::new();
        for _ in 0..self.connections.min(number) {
            channels.push(self.channel().await?);
        }
        let mut callers = JoinSet::new();
        for (number, channel) in (0..number).zip(channels.iter().cycle()) {
            let caller = Caller {
                number,
                channel: channel.clone(),
                credentials: Arc::clone(&self.credentials),
                requests: Arc::clone(&self.requests),
                phases: phases.clone(),
                samples: MAX_SAMPLES / self.in_flight,
                clock: clock.clone(),
            };
            match (self.stream, pace) {
                (Some(each), Pace::Answers) => callers.spawn(caller.stream(each.max(1))),
                _ => callers.spawn(caller.single()),
            };
        }
        Ok(Running {
            phase,
            callers,
            duration: self.duration,
        })
    }
}

/// One of several, in turn.
pub(super) fn pick(credentials: &[Credentials], number: usize) -> Result<&Credentials, Failure> {
    number
        .checked_rem(credentials.len())
        .and_then(|index| credentials.get(index))
        .ok_or_else(|| Failure::text(Class::Internal, "there is no caller"))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    WarmUp,
    Measure,
    End,
}

pub(super) struct Running {
    phase: watch::Sender<Phase>,
    callers: JoinSet<Result<Counted, Failure>>,
    duration: Duration,
}

impl Running {
    pub(super) async fn warm_up(&self) {
        sleep(WARM_UP).await;
    }

    /// Counts for the time that was asked for.
    pub(super) async fn measure(mut self) -> Result<Measured, Failure> {
        let start = Instant::now();
        self.phase.send_replace(Phase::Measure);
        sleep(self.duration).await;
        self.phase.send_replace(Phase::End);
        let elapsed = start.elapsed();
        let mut all = Counted::default();
        while let Some(counted) = self.callers.join_next().await {
            all.add(counted.or_fail_doing(Class::Internal, "a caller ended early")??);
        }
        Ok(Measured {
            elapsed,
            latencies: Latencies::of(all.latencies),
            refusals: all.refusals,
        })
    }
}

/// What came of a run.
#[derive(Debug)]
pub(super) struct Measured {
    pub(super) elapsed: Duration,
    /// Of each certificate.
    pub(super) latencies: Latencies,
    pub(super) refusals: BTreeMap<&'static str, u64>,
}

impl Measured {
    pub(super) fn issued(&self) -> u64 {
        self.latencies.count()
    }

    pub(super) fn per_second(&self) -> f64 {
        self.issued() as f64 / self.elapsed.as_secs_f64()
    }
}
