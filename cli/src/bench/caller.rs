//! One of those who ask, again and again, and what it counts.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use sealwright_proto::{
    istio::{IstioCertificateRequest, istio_certificate_service_client::IstioCertificateServiceClient},
    signing::{SignRequest, sign_response::Outcome, signing_service_client::SigningServiceClient},
};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep, sleep_until},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, transport::Channel};

use super::load::{Phase, pick};
use crate::{
    failure::{Class, Failure},
    issue::call::{Credentials, code_name, refusal},
};

/// A refused caller waits a little, as a client does, or refusals would be all there is.
const AFTER_REFUSAL: Duration = Duration::from_millis(5);

const LIFETIME_SECONDS: i64 = 3600;

#[derive(Debug, Default)]
pub(super) struct Counted {
    pub(super) latencies: Vec<Duration>,
    pub(super) refusals: BTreeMap<&'static str, u64>,
}

impl Counted {
    pub(super) fn add(&mut self, other: Self) {
        self.latencies.extend(other.latencies);
        for (code, count) in other.refusals {
            *self.refusals.entry(code).or_insert(0) += count;
        }
    }

    pub(super) fn refused(&mut self, code: Code) {
        *self.refusals.entry(code_name(code)).or_insert(0) += 1;
    }
}

/// When arrivals are due. Late ones are measured from when they were due.
#[derive(Clone, Debug)]
pub(super) struct Clock {
    pub(super) start: Instant,
    /// A second.
    pub(super) rate: f64,
    pub(super) next: Arc<AtomicU64>,
}

impl Clock {
    async fn arrival(&self) -> Instant {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let due = self.start + Duration::from_secs_f64(number as f64 / self.rate);
        sleep_until(due).await;
        due
    }
}

pub(super) struct Caller {
    pub(super) number: usize,
    pub(super) channel: Channel,
    pub(super) credentials: Arc<[Credentials]>,
    pub(super) requests: Arc<[String]>,
    pub(super) phases: watch::Receiver<Phase>,
    pub(super) samples: usize,
    pub(super) clock: Option<Clock>,
}

impl Caller {
    fn phase(&self) -> Phase {
        *self.phases.borrow()
    }

    /// One request a call.
    pub(super) async fn single(self) -> Result<Counted, Failure> {
        let mut client = IstioCertificateServiceClient::new(self.channel.clone());
        let mut counted = Counted::default();
        let requests = self.requests.iter().cycle().skip(self.number);
        // Callers take identities in turn, each its own ones.
        let step = self.credentials.len().max(1).div_ceil(64) | 1;
        for (turn, csr) in requests.enumerate() {
            let credentials = pick(&self.credentials, self.number * 97 + turn * step)?;
            let request = credentials.authorize(message(csr))?;
            let start = match &self.clock {
                Some(clock) => clock.arrival().await,
                None => Instant::now(),
            };
            let before = self.phase();
            let answer = client.create_certificate(request).await;
            let latency = start.elapsed();
            let after = self.phase();
            // Counted is what was asked and answered within the time.
            let counts = before == Phase::Measure && after == Phase::Measure;
            match answer {
                Ok(_) if counts && counted.latencies.len() < self.samples => counted.latencies.push(latency),
                Ok(_) => {}
                Err(status) => {
                    if counts {
                        counted.refused(status.code());
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

    /// One call, and so many requests at a time in it: the next ones when all have their answers.
    pub(super) async fn stream(self, each: usize) -> Result<Counted, Failure> {
        let mut client = SigningServiceClient::new(self.channel.clone());
        let (sender, receiver) = mpsc::channel(each);
        let credentials = pick(&self.credentials, self.number)?;
        let mut call = credentials.authorize(ReceiverStream::new(receiver))?;
        // The call lasts as long as the run.
        call.metadata_mut().remove("grpc-timeout");
        let mut answers = client
            .sign(call)
            .await
            .map_err(|status| refusal(&status))?
            .into_inner();
        let mut counted = Counted::default();
        let requests: Vec<&String> = self
            .requests
            .iter()
            .cycle()
            .skip(self.number)
            .take(each)
            .collect();
        loop {
            let before = self.phase();
            let start = Instant::now();
            for (id, csr) in (0..).zip(&requests) {
                let request = SignRequest {
                    id,
                    csr: csr.as_bytes().to_vec(),
                    validity_duration: LIFETIME_SECONDS,
                    metadata: None,
                };
                if sender.send(request).await.is_err() {
                    break;
                }
            }
            for _ in 0..each {
                let answer = answers.message().await.map_err(|status| refusal(&status))?;
                let Some(answer) = answer else {
                    return Err(Failure::text(Class::Unavailable, "the signer ended the call"));
                };
                let counts = before == Phase::Measure && self.phase() == Phase::Measure;
                match answer.outcome {
                    Some(Outcome::Certificate(_)) if counts && counted.latencies.len() < self.samples => {
                        counted.latencies.push(start.elapsed());
                    }
                    Some(Outcome::Error(status)) if counts => counted.refused(Code::from(status.code)),
                    _ => {}
                }
            }
            if self.phase() == Phase::End {
                return Ok(counted);
            }
        }
    }
}

/// Asks for one certificate.
pub(super) async fn ask_once(channel: &Channel, credentials: &Credentials, csr: &str) -> Result<(), Failure> {
    let request = credentials.authorize(message(csr))?;
    let answer = IstioCertificateServiceClient::new(channel.clone())
        .create_certificate(request)
        .await;
    answer.map(drop).map_err(|status| refusal(&status))
}

pub(super) fn message(csr: &str) -> IstioCertificateRequest {
    IstioCertificateRequest {
        csr: csr.to_owned(),
        validity_duration: LIFETIME_SECONDS,
        metadata: None,
    }
}
