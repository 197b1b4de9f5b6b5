//! A whole front, and clients for it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rcgen::KeyPair;
use sealwright_gate::config::PolicyConfig;
use sealwright_proto::istio::istio_certificate_service_client::IstioCertificateServiceClient;
use sealwright_proto::istio::{IstioCertificateRequest, IstioCertificateResponse};
use sealwright_runtime::readiness::Readiness;
use sealwright_statement::policy::Mode;
use sealwright_x509::pem;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tonic::Status;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};

use super::CART;
use crate::app::{App, Bound, Plumbing, Reloader, RunError};
use crate::authn::Trust;
use crate::authn::config::{AuthenticatorConfig, AuthenticatorKind};
use crate::config::{PolicyHostConfig, ServerConfig, SignerConfig};
use crate::testing::{FakeEntry, FakeGate, TestPki, baseline, clock, end_entity};

pub(super) struct Front {
    pub(super) pki: Arc<TestPki>,
    pub(super) gate: FakeGate,
    pub(super) bound: Bound,
    pub(super) readiness: Readiness,
    pub(super) reloader: Reloader,
    pub(super) stop: Option<oneshot::Sender<()>>,
    pub(super) running: JoinHandle<Result<(), RunError>>,
}

impl Front {
    /// A front that is ready.
    pub(super) async fn start(change: impl FnOnce(&mut SignerConfig)) -> Self {
        let front = Self::start_without_gate(change).await;
        front.gate.connect().await;
        let mut changes = front.readiness.watch();
        while !front.readiness.is_ready() {
            changes.changed().await;
        }
        front
    }

    pub(super) async fn start_without_gate(change: impl FnOnce(&mut SignerConfig)) -> Self {
        let pki = Arc::new(TestPki::new());
        let (gate, streams) = FakeGate::new(Arc::clone(&pki));
        let mut config = config(&pki);
        change(&mut config);
        gate.put_in_force(&entries(&config));
        let readiness = Readiness::new();
        let plumbing = Plumbing {
            clock: clock(),
            metrics: Default::default(),
            readiness: readiness.clone(),
            gate_first: Duration::ZERO,
            judges: None,
        };
        let app = App::build(config, streams, plumbing).await.unwrap();
        let (bound, reloader) = (app.bound(), app.reloader());
        let (stop, stopped) = oneshot::channel::<()>();
        let running = tokio::spawn(app.run(async move {
            let _ = stopped.await;
        }));
        Self {
            pki,
            gate,
            bound,
            readiness,
            reloader,
            stop: Some(stop),
            running,
        }
    }

    pub(super) async fn channel(&self, identity: Option<Identity>) -> Channel {
        let mut tls = ClientTlsConfig::new()
            .ca_certificate(Certificate::from_pem(self.pki.roots_pem()))
            .domain_name("localhost");
        if let Some(identity) = identity {
            tls = tls.identity(identity);
        }
        Endpoint::from_shared(format!("https://{}", self.bound.grpc))
            .unwrap()
            .tls_config(tls)
            .unwrap()
            .connect()
            .await
            .unwrap()
    }

    /// A client of this identity.
    pub(super) async fn client(&self, identity: &str) -> IstioCertificateServiceClient<Channel> {
        IstioCertificateServiceClient::new(self.authenticated_channel(identity).await)
    }

    pub(super) async fn authenticated_channel(&self, identity: &str) -> Channel {
        let key = KeyPair::generate().unwrap();
        let leaf = self.pki.issue(&end_entity(&[identity], &[]), &key);
        let chain: String = [&leaf, &self.pki.issuing_der]
            .map(|der| pem::encode(pem::CERTIFICATE, der))
            .concat();
        let identity = Identity::from_pem(chain, key.serialize_pem());
        self.channel(Some(identity)).await
    }

    pub(super) async fn ask(
        &self,
        request: IstioCertificateRequest,
    ) -> Result<IstioCertificateResponse, Status> {
        let mut client = self.client(CART).await;
        Ok(client.create_certificate(request).await?.into_inner())
    }

    pub(super) async fn page(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(self.bound.http).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut page = String::new();
        stream.read_to_string(&mut page).await.unwrap();
        page
    }

    pub(super) async fn stop(mut self) {
        drop(self.stop.take());
        self.running.await.unwrap().unwrap();
    }
}

/// The policies of a configuration, as a gate seeds its first set with them.
pub(super) fn entries(config: &SignerConfig) -> Vec<FakeEntry> {
    let users = |name: &String| -> Vec<String> {
        let users = config
            .issuers
            .iter()
            .filter(|issuer| issuer.policies.contains(name));
        users.map(|issuer| issuer.name.clone()).collect()
    };
    let policies = config
        .policies
        .iter()
        .filter(|policy| !users(&policy.name).is_empty());
    policies
        .map(|policy| FakeEntry {
            name: policy.name.clone(),
            module: policy.module.clone(),
            settings: policy.settings.clone(),
            mode: Mode::Enforce,
            issuers: users(&policy.name),
        })
        .collect()
}

pub(super) fn config(pki: &TestPki) -> SignerConfig {
    SignerConfig {
        trust: Trust {
            domain: "cluster.local".parse().unwrap(),
            aliases: Vec::new(),
        },
        default_issuer: "default".to_owned(),
        server: ServerConfig {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            state: pki.path().join("front"),
            ..ServerConfig::default()
        },
        http: SocketAddr::from(([127, 0, 0, 1], 0)),
        authenticators: vec![AuthenticatorConfig {
            name: "mtls".to_owned(),
            attributes: Default::default(),
            kind: AuthenticatorKind::ClientCertificate,
            hands_over: false,
        }],
        issuers: vec![
            pki.issuer_config("default", &["baseline"]),
            pki.issuer_config("bare", &[]),
        ],
        policies: vec![PolicyConfig {
            name: "baseline".to_owned(),
            module: baseline(),
            digest: None,
            fuel: 10_000_000,
            settings: serde_json::json!({
                "trust_domains": ["cluster.local"],
                "namespaces": ["shop"],
            }),
        }],
        policy_host: PolicyHostConfig {
            threads: 1,
            ..PolicyHostConfig::default()
        },
        policy_roles: Vec::new(),
    }
}

pub(super) fn without_policies(config: &mut SignerConfig) {
    config.policies.clear();
    for issuer in &mut config.issuers {
        issuer.policies.clear();
    }
}
