//! A burst: many workloads that all start at once, each with a connection, a token and a request of its own.
//!
//! Tokens, keys and requests are made before the clock starts. So many are at work at a time; the others wait, and
//! their waiting counts. One that is refused for overload tries again when it is told to, as a client does.

use std::{sync::Arc, time::Duration};

use sealwright_proto::istio::istio_certificate_service_client::IstioCertificateServiceClient;
use serde::Serialize;
use tokio::{
    sync::Semaphore,
    task::JoinSet,
    time::{Instant, sleep},
};
use tonic::{Code, transport::Channel};
use tonic_types::StatusExt;

use super::{
    caller::{Counted, message},
    latency::{Latencies, Latency},
    load::Measured,
    own::OwnSigner,
};
use crate::{
    args::BenchArgs,
    failure::{Class, Failure, OrFail},
    issue::{
        call::{Credentials, connect},
        key::WorkloadKey,
    },
};

/// Attempts of one workload.
const ATTEMPTS: u32 = 50;
/// Where the signer does not say when to come back.
const PAUSE: Duration = Duration::from_millis(100);
/// Files for anything but connections.
const OTHER_FILES: u64 = 256;

pub(super) struct Burst {
    server: String,
    pods: Vec<Pod>,
    at_once: usize,
    /// Connections stay open until the last workload has its certificate.
    hold: bool,
}

struct Pod {
    credentials: Credentials,
    csr: String,
}

/// What came of a burst.
#[derive(Debug, Serialize)]
pub(super) struct BurstFigures {
    pods: usize,
    at_once: usize,
    connections_held_open: bool,
    /// Workloads that have no certificate.
    lost: usize,
    /// Attempts beyond the first.
    retries: u64,
    /// From the beginning of the burst to the last certificate.
    seconds_to_last: f64,
    /// From the beginning of the burst to each certificate.
    since_start_ms: Latency,
}

impl Burst {
    pub(super) fn prepare(
        args: &BenchArgs,
        signer: &OwnSigner,
        pods: usize,
        files: u64,
    ) -> Result<Self, Failure> {
        let credentials = signer.credentials(pods)?;
        let pods = credentials
            .into_iter()
            .map(|credentials| {
                let csr = WorkloadKey::generate(args.key_type)?.csr_pem()?;
                Ok(Pod { credentials, csr })
            })
            .collect::<Result<Vec<_>, Failure>>()?;
        Ok(Self {
            server: signer.grpc().to_owned(),
            hold: (pods.len() as u64).saturating_add(OTHER_FILES) <= files,
            pods,
            at_once: args.burst_in_flight.max(1),
        })
    }

    /// Lets all of them loose. The latencies are each workload's own, from its first packet on.
    pub(super) async fn run(self) -> Result<(Measured, BurstFigures), Failure> {
        let places = Arc::new(Semaphore::new(self.at_once));
        let (count, hold) = (self.pods.len(), self.hold);
        let server: Arc<str> = self.server.into();
        let mut running = JoinSet::new();
        let start = Instant::now();
        for pod in self.pods {
            let (places, server) = (Arc::clone(&places), Arc::clone(&server));
            running.spawn(async move {
                let place = places.acquire_owned().await.or_fail(Class::Internal)?;
                let began = Instant::now();
                let mut done = pod.run(&server).await?;
                drop(place);
                done.own = began.elapsed();
                done.since_start = start.elapsed();
                if !hold {
                    done.channel = None;
                }
                Ok::<_, Failure>(done)
            });
        }
        let mut counted = Counted::default();
        let (mut since_start, mut held) = (Vec::with_capacity(count), Vec::new());
        let mut retries = 0;
        while let Some(done) = running.join_next().await {
            let done = done.or_fail(Class::Internal)??;
            for code in &done.refused {
                counted.refused(*code);
            }
            retries += u64::from(done.attempts.saturating_sub(1));
            if done.issued {
                counted.latencies.push(done.own);
                since_start.push(done.since_start);
            }
            held.extend(done.channel);
        }
        let elapsed = since_start.iter().max().copied().unwrap_or_default();
        drop(held);
        let figures = BurstFigures {
            pods: count,
            at_once: self.at_once,
            connections_held_open: hold,
            lost: count - since_start.len(),
            retries,
            seconds_to_last: elapsed.as_secs_f64(),
            since_start_ms: Latencies::of(since_start).summary(),
        };
        let measured = Measured {
            elapsed,
            latencies: Latencies::of(counted.latencies),
            refusals: counted.refusals,
        };
        Ok((measured, figures))
    }
}

#[derive(Default)]
struct Done {
    issued: bool,
    attempts: u32,
    refused: Vec<Code>,
    own: Duration,
    since_start: Duration,
    channel: Option<Channel>,
}

impl Pod {
    async fn run(&self, server: &str) -> Result<Done, Failure> {
        let mut done = Done::default();
        while done.attempts < ATTEMPTS {
            done.attempts += 1;
            let Some(channel) = self.channel(server, &mut done).await else {
                done.refused.push(Code::Unavailable);
                sleep(PAUSE).await;
                continue;
            };
            let request = self.credentials.authorize(message(&self.csr))?;
            match IstioCertificateServiceClient::new(channel)
                .create_certificate(request)
                .await
            {
                Ok(_certificate) => {
                    done.issued = true;
                    break;
                }
                Err(status) => {
                    done.refused.push(status.code());
                    let told = status.get_details_retry_info().and_then(|info| info.retry_delay);
                    match (status.code(), told) {
                        (_, Some(delay)) => sleep(delay).await,
                        (Code::Unavailable | Code::ResourceExhausted, None) => sleep(PAUSE).await,
                        // A broken connection: the next attempt makes another.
                        (Code::Unknown | Code::Cancelled, None) => {
                            done.channel = None;
                            sleep(PAUSE).await;
                        }
                        _ => break,
                    }
                }
            }
        }
        Ok(done)
    }

    async fn channel(&self, server: &str, done: &mut Done) -> Option<Channel> {
        if done.channel.is_none() {
            done.channel = connect(server, &self.credentials).await.ok();
        }
        done.channel.clone()
    }
}

impl BurstFigures {
    pub(super) fn rows(&self, row: &mut impl FnMut(&str, String)) {
        let open = if self.connections_held_open {
            ", all held open"
        } else {
            ""
        };
        row(
            "burst",
            format!("{} workloads, {} at once{open}", self.pods, self.at_once),
        );
        row("lost", self.lost.to_string());
        row("tried again", self.retries.to_string());
        row("to the last", format!("{:.1} s", self.seconds_to_last));
        row("since the start (ms)", self.since_start_ms.text());
    }
}
