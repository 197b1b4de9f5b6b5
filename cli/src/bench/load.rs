//! The load: so many requests in flight over so many connections.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use sealwright_proto::istio::{
    IstioCertificateRequest, istio_certificate_service_client::IstioCertificateServiceClient,
};
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep},
};
use tonic::transport::Channel;

use crate::{
    args::BenchArgs,
    failure::{Class, Failure, OrFail},
    issue::{
        call::{Credentials, code_name, connect},
        key::WorkloadKey,
    },
};

/// Requests made before: their keys and signatures are no part of the figures.
const REQUESTS: usize = 32;

const WARM_UP: Duration = Duration::from_secs(1);

/// A refused caller waits a little, as a client does, or refusals would be all there is.
const AFTER_REFUSAL: Duration = Duration::from_millis(5);

/// Latencies that are kept; beyond, a run is too long to be held in memory.
const MAX_SAMPLES: usize = 20_000_000;

pub(super) struct Load {
    server: String,
    credentials: Arc<Credentials>,
    requests: Arc<[String]>,
    in_flight: usize,
    connections: usize,
    duration: Duration,
}

impl Load {
    pub(super) fn new(args: &BenchArgs, server: &str, credentials: Credentials) -> Result<Self, Failure> {
        let requests = (0..REQUESTS).map(|_| WorkloadKey::generate(args.key_type)?.csr_pem());
        Ok(Self {
            server: server.to_owned(),
            credentials: Arc::new(credentials),
            requests: requests.collect::<Result<_, _>>()?,
            in_flight: args.in_flight,
            connections: args.connections,
            duration: args.duration.get(),
        })
    }

    /// Connects, and starts every caller.
    pub(super) async fn start(self) -> Result<Running, Failure> {
        let (phase, phases) = watch::channel(Phase::WarmUp);
        let mut callers = JoinSet::new();
        let mut channels = Vec::new();
        for _ in 0..self.connections.clamp(1, self.in_flight.max(1)) {
            channels.push(connect(&self.server, &self.credentials).await?);
        }
        for (number, channel) in (0..self.in_flight).zip(channels.iter().cycle()) {
            let caller = Caller {
                number,
                channel: channel.clone(),
                credentials: Arc::clone(&self.credentials),
                requests: Arc::clone(&self.requests),
                phases: phases.clone(),
                samples: MAX_SAMPLES / self.in_flight.max(1),
            };
            callers.spawn(caller.run());
        }
        Ok(Running {
            phase,
            callers,
            duration: self.duration,
        })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
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
        let mut latencies = Vec::new();
        let mut refusals = BTreeMap::new();
        while let Some(counted) = self.callers.join_next().await {
            let counted = counted.or_fail_doing(Class::Internal, "a caller ended early")??;
            latencies.extend(counted.latencies);
            for (code, count) in counted.refusals {
                *refusals.entry(code).or_insert(0) += count;
            }
        }
        latencies.sort_unstable();
        Ok(Measured {
            elapsed,
            latencies,
            refusals,
        })
    }
}

/// What came of a run.
#[derive(Debug)]
pub(super) struct Measured {
    pub(super) elapsed: Duration,
    /// Of each certificate, sorted.
    latencies: Vec<Duration>,
    pub(super) refusals: BTreeMap<&'static str, u64>,
}

impl Measured {
    pub(super) fn issued(&self) -> u64 {
        self.latencies.len() as u64
    }

    /// Milliseconds within which so many of a hundred were answered.
    pub(super) fn percentile(&self, percent: usize) -> f64 {
        let rank = (self.latencies.len() * percent).div_ceil(100).max(1) - 1;
        self.latencies
            .get(rank)
            .map_or(0.0, |latency| latency.as_secs_f64() * 1000.0)
    }
}

#[derive(Default)]
struct Counted {
    latencies: Vec<Duration>,
    refusals: BTreeMap<&'static str, u64>,
}

struct Caller {
    number: usize,
    channel: Channel,
    credentials: Arc<Credentials>,
    requests: Arc<[String]>,
    phases: watch::Receiver<Phase>,
    samples: usize,
}

impl Caller {
    async fn run(self) -> Result<Counted, Failure> {
        let mut client = IstioCertificateServiceClient::new(self.channel);
        let mut counted = Counted::default();
        for csr in self.requests.iter().cycle().skip(self.number) {
            let before = *self.phases.borrow();
            let request = self.credentials.authorize(IstioCertificateRequest {
                csr: csr.clone(),
                validity_duration: 3600,
                metadata: None,
            })?;
            let start = Instant::now();
            let answer = client.create_certificate(request).await;
            let latency = start.elapsed();
            let after = *self.phases.borrow();
            // Counted is what was asked and answered within the time.
            let counts = before == Phase::Measure && after == Phase::Measure;
            match answer {
                Ok(_) if counts && counted.latencies.len() < self.samples => counted.latencies.push(latency),
                Ok(_) => {}
                Err(status) => {
                    if counts {
                        *counted.refusals.entry(code_name(status.code())).or_insert(0) += 1;
                    }
                    sleep(AFTER_REFUSAL).await;
                }
            }
            if after == Phase::End {
                break;
            }
        }
        Ok(counted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_ranks() {
        let measured = |count: u64| Measured {
            elapsed: Duration::from_secs(1),
            latencies: (1..=count).map(Duration::from_millis).collect(),
            refusals: BTreeMap::new(),
        };
        let hundred = measured(100);
        assert_eq!(hundred.percentile(50), 50.0);
        assert_eq!(hundred.percentile(99), 99.0);
        assert_eq!(hundred.percentile(100), 100.0);
        assert_eq!(measured(1).percentile(50), 1.0);
        assert_eq!(measured(0).percentile(99), 0.0);
    }
}
