//! Clients that ask for too much, and clients that ask for little beside them.
//!
//! What they ask for goes over `tonic` channels, so that many streams share a connection; what an
//! honest client never does (bodies that do not come, answers that are not taken) is made by hand.

use std::{
    collections::BTreeMap,
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http_body_util::StreamBody;
use tokio::{task::JoinSet, time::Instant};
use tonic::{
    Code, Status,
    body::Body,
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint},
};
use tonic_types::StatusExt as _;
use tower::ServiceExt as _;

use crate::{Client, Csr, Home, Process, Serving, dev_token};

const METHOD: &str = "/istio.v1.auth.IstioCertificateService/CreateCertificate";

/// A signer to be overloaded.
pub struct Stage {
    /// Its home.
    pub home: Home,
    /// The signer.
    pub serving: Serving,
    processes: Vec<Process>,
}

impl Stage {
    /// A signer with these lines in its `[server]` section, and others at its end.
    pub async fn new(server: &str, end: &str) -> Self {
        let home = Home::new();
        home.replace("[server]\n", &format!("[server]\n{server}\n"))
            .append(end);
        let serving = home.serve();
        serving.wait_until(200, "").await;
        let processes = Process::all_of(serving.pid());
        Self {
            home,
            serving,
            processes,
        }
    }

    /// A token of a service account.
    pub fn token(&self, account: &str) -> String {
        dev_token(self.home.path(), "default", account)
    }

    /// Somebody with a connection of its own.
    pub async fn client(&self, account: &str) -> Asking {
        Asking {
            client: Client::connect_to(self.serving.grpc(), &self.home.file("roots.pem")).await,
            token: self.token(account).into(),
            csr: Csr::ztunnel(&format!("spiffe://cluster.local/ns/default/sa/{account}"))
                .pem
                .into(),
        }
    }

    /// A connection with other settings of HTTP/2.
    pub async fn channel(&self, change: impl FnOnce(Endpoint) -> Endpoint) -> Channel {
        let roots = fs::read(self.home.file("roots.pem")).unwrap();
        let tls = ClientTlsConfig::new()
            .ca_certificate(Certificate::from_pem(roots))
            .domain_name("localhost");
        let endpoint = Endpoint::from_shared(format!("https://{}", self.serving.grpc())).unwrap();
        change(endpoint.tls_config(tls).unwrap()).connect().await.unwrap()
    }

    /// What a bare TLS client needs.
    pub fn tls(&self) -> tokio_rustls::TlsConnector {
        use rustls::pki_types::{CertificateDer, pem::PemObject as _};
        let mut roots = rustls::RootCertStore::empty();
        for root in CertificateDer::pem_file_iter(self.home.file("roots.pem")).unwrap() {
            roots.add(root.unwrap()).unwrap();
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec()];
        Arc::new(config).into()
    }

    /// The value of a line of `/metrics`, by its name and labels.
    pub async fn metric(&self, name: &str) -> i64 {
        let (_, page) = self.serving.page("/metrics").await;
        let line = page
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {name} in\n{page}"))
            .parse()
            .unwrap()
    }

    /// Waits, within a bound, until a line of `/metrics` has a value that is wanted.
    pub async fn metric_until(&self, name: &str, wanted: impl Fn(i64) -> bool) {
        let mut last = 0;
        for _ in 0..1200 {
            last = self.metric(name).await;
            if wanted(last) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("{name} stays {last}:\n{}", self.serving.log());
    }

    /// The most memory that front and gate ever had, in MiB.
    pub fn peak_memory(&self) -> [(&'static str, u64); 2] {
        ["front", "gate"].map(|role| {
            let process = self
                .processes
                .iter()
                .find(|process| process.role() == role)
                .unwrap();
            let peak = process.status("VmHWM").unwrap();
            let kibibytes: u64 = peak.split_whitespace().next().unwrap().parse().unwrap();
            (role, kibibytes / 1024)
        })
    }

    /// Nothing is left of what was asked for, and the signer signs: a healthy end.
    pub async fn end(self) {
        for gauge in ["requests_in_work", "requests_waiting", "buffered_bytes"] {
            self.metric_until(&format!("sealwright_{gauge}"), |value| value == 0)
                .await;
        }
        self.serving.wait_until(200, "").await;
        assert_eq!(
            Process::all_of(self.serving.pid()),
            self.processes,
            "none was started again"
        );
        self.client("after").await.ask().await.unwrap();
        assert_eq!(self.serving.stop(), 0);
        self.home.run(&["log", "verify"]).success();
    }
}

/// Somebody who asks.
#[derive(Clone)]
pub struct Asking {
    client: Client,
    token: Arc<str>,
    csr: Arc<str>,
}

/// What somebody was answered.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// How long each certificate took, in the order of their answers.
    pub issued: Vec<Duration>,
    /// Refusals by the name of their code.
    pub refused: BTreeMap<String, u64>,
    /// Refusals for overload that do not say when to come back.
    pub without_delay: u64,
    /// How long each refusal for overload took.
    pub refusals: Vec<Duration>,
}

impl Asking {
    /// Asks once.
    pub async fn ask(&self) -> Result<(), Status> {
        let chain = self.client.create(&self.token, &self.csr, 3600).await?;
        assert!(chain.len() > 1);
        Ok(())
    }

    /// Asks again and again until it is told to stop, after a pause each time.
    pub async fn go_on(self, running: Arc<AtomicBool>, pause: Duration) -> Tally {
        let mut tally = Tally::default();
        while running.load(Ordering::Relaxed) {
            let start = Instant::now();
            tally.take(start, self.ask().await);
            // The time of the call is part of the pause: the rate that is offered stays.
            tokio::time::sleep_until(start + pause).await;
        }
        tally
    }
}

impl Tally {
    /// Counts an answer to what was asked at a time.
    pub fn take(&mut self, start: Instant, answer: Result<(), Status>) {
        let took = start.elapsed();
        let Err(status) = answer else {
            self.issued.push(took);
            return;
        };
        *self.refused.entry(format!("{:?}", status.code())).or_default() += 1;
        if status.code() == Code::ResourceExhausted {
            self.refusals.push(took);
            let delay = status.get_details_retry_info().and_then(|info| info.retry_delay);
            if delay.is_none_or(|delay| delay.is_zero()) {
                self.without_delay += 1;
            }
        }
    }

    fn add(&mut self, other: Self) {
        self.issued.extend(other.issued);
        self.refusals.extend(other.refusals);
        self.without_delay += other.without_delay;
        for (code, count) in other.refused {
            *self.refused.entry(code).or_default() += count;
        }
    }

    /// Refusals for overload are the only ones, and each says when to come back.
    pub fn only_overloads(&self) {
        assert!(
            self.refused.keys().all(|code| code == "ResourceExhausted"),
            "{:?}",
            self.refused
        );
        assert_eq!(self.without_delay, 0);
    }
}

/// Within how many milliseconds so many of a hundred were answered.
pub fn percentile(times: &[Duration], percent: usize) -> f64 {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    let rank = (sorted.len() * percent).div_ceil(100).max(1) - 1;
    sorted.get(rank).map_or(0.0, |time| time.as_secs_f64() * 1000.0)
}

/// Many who ask at the same time.
pub struct Crowd {
    running: Arc<AtomicBool>,
    callers: JoinSet<Tally>,
    start: Instant,
}

impl Crowd {
    /// Each of `clients` with `each` calls in flight, `rate` in a second all together at the most.
    pub fn start(clients: &[Asking], each: usize, rate: f64) -> Self {
        let running = Arc::new(AtomicBool::new(true));
        let pause = Duration::from_secs_f64((clients.len() * each) as f64 / rate);
        let all = clients
            .iter()
            .flat_map(|client| std::iter::repeat_n(client, each));
        // Not all in the first moment: that would be another rate than the one offered.
        let callers = all.enumerate().map(|(number, client)| {
            let (client, running) = (client.clone(), Arc::clone(&running));
            async move {
                tokio::time::sleep(Duration::from_secs_f64(number as f64 / rate)).await;
                client.go_on(running, pause).await
            }
        });
        Self {
            callers: callers.collect(),
            running,
            start: Instant::now(),
        }
    }

    /// What all of them were answered, and in how many seconds.
    pub async fn stop(mut self) -> (Tally, f64) {
        self.running.store(false, Ordering::Relaxed);
        let seconds = self.start.elapsed().as_secs_f64();
        let mut all = Tally::default();
        while let Some(tally) = self.callers.join_next().await {
            all.add(tally.unwrap());
        }
        (all, seconds)
    }
}

/// A call with a body made by hand. Its answer is not read: only its status, if the headers say one.
pub async fn call(
    channel: Channel,
    token: Option<&str>,
    body: Body,
) -> Result<Code, tonic::transport::Error> {
    let mut request = http::Request::post(METHOD)
        .header("content-type", "application/grpc")
        .header("te", "trailers");
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    let answer = channel.oneshot(request.body(body).unwrap()).await?;
    let code = answer.headers().get("grpc-status");
    Ok(code.map_or(Code::Ok, |code| Code::from_bytes(code.as_bytes())))
}

/// A body of which these bytes come, and then nothing, for ever.
pub fn unfinished(bytes: &'static [u8]) -> Body {
    let first = futures::stream::iter([Ok::<_, Status>(http_body::Frame::data(Bytes::from_static(bytes)))]);
    let rest = futures::stream::pending();
    Body::new(StreamBody::new(futures::StreamExt::chain(first, rest)))
}

/// A message that is as long as it says.
pub fn whole(message: &[u8]) -> Body {
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    let bytes = [&[0][..], &length, message].concat();
    Body::new(http_body_util::Full::new(Bytes::from(bytes)))
}

/// Raises this process's own limit of open files as far as it may, and says how far that is.
pub fn raise_open_files() -> u64 {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let most = getrlimit(Resource::Nofile).maximum;
    let raised = Rlimit {
        current: most,
        maximum: most,
    };
    setrlimit(Resource::Nofile, raised).ok();
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}
