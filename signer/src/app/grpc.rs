//! The gRPC services of the front and the HTTP/2 settings they are served with.

use std::time::Duration;

use sealwright_proto::istio::istio_ca_service_server::IstioCaServiceServer;
use sealwright_proto::istio::istio_certificate_service_server::IstioCertificateServiceServer;
use sealwright_proto::policy::policy_service_server::PolicyServiceServer;
use sealwright_proto::signing::signing_service_server::SigningServiceServer;
use sealwright_runtime::drain::{Watcher, run_with_drain};
use sealwright_runtime::readiness::Readiness;
use tonic::server::NamedService;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use super::{BuildError, RunError};
use crate::acceptor::Incoming;
use crate::config::ServerConfig;
use crate::policies::{Door, PolicyAdministration};
use crate::service::{Admission, CertificateService, OpenService, SigningService};

/// As istiod does: dead peers are noticed within 40 s.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(30);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// What a stranger can make us buffer in bodies that nobody reads: the windows of HTTP/2.
const STREAM_WINDOW_BYTES: u32 = 64 << 10;
const CONNECTION_WINDOW_BYTES: u32 = 256 << 10;
/// Room for the largest tokens, and not for much more.
const MAX_HEADER_BYTES: u32 = 32 << 10;
/// Messages of health and reflection are names.
const MAX_SMALL_MESSAGE_BYTES: usize = 64 << 10;

/// A piece of an upload, or a statement with a report.
const MAX_STATEMENT_BYTES: usize = 2 << 20;

const HEALTH: &str = "grpc.health.v1.Health";
const REFLECTION: &str = "grpc.reflection.v1.ServerReflection";

type Certificates = IstioCertificateServiceServer<CertificateService>;
type Signing = SigningServiceServer<SigningService>;
type Administration = PolicyServiceServer<PolicyAdministration>;
type Legacy = IstioCaServiceServer<CertificateService>;

/// The services, ready to be served.
#[derive(Debug)]
pub(super) struct Server {
    service: CertificateService,
    signing: SigningService,
    administration: Option<(Door, PolicyAdministration)>,
    max_calls: usize,
    admission: Admission,
    readiness: Readiness,
    reflection: Option<Vec<&'static [u8]>>,
    legacy: bool,
    max_streams: u32,
    max_message_bytes: usize,
}

impl Server {
    pub(super) fn new(
        service: CertificateService,
        signing: SigningService,
        administration: Option<(Door, PolicyAdministration)>,
        admission: Admission,
        config: &ServerConfig,
        readiness: Readiness,
    ) -> Result<Self, BuildError> {
        let reflection = config.reflection.then(|| {
            vec![
                sealwright_proto::FILE_DESCRIPTOR_SET,
                tonic_health::pb::FILE_DESCRIPTOR_SET,
                // What statuses are detailed with.
                tonic_types::pb::FILE_DESCRIPTOR_SET,
            ]
        });
        let server = Self {
            service,
            signing,
            administration,
            max_calls: config.signing.max_calls,
            admission,
            readiness,
            reflection,
            legacy: config.legacy_csr_service,
            max_streams: config.max_streams_per_connection,
            max_message_bytes: config.max_message_bytes,
        };
        // Found out now rather than while serving.
        server
            .reflection_builder()
            .map(|builder| builder.build_v1())
            .transpose()?;
        Ok(server)
    }

    fn reflection_builder(&self) -> Option<tonic_reflection::server::Builder<'static>> {
        let sets = self.reflection.as_ref()?;
        let mut builder = tonic_reflection::server::Builder::configure();
        for set in sets {
            builder = builder.register_encoded_file_descriptor_set(set);
        }
        // What is described is more than what is served.
        let legacy = self.legacy.then_some(Legacy::NAME);
        let administration = self.administration.as_ref().map(|_| Administration::NAME);
        let names = [Certificates::NAME, Signing::NAME, HEALTH, REFLECTION];
        for name in names.into_iter().chain(legacy).chain(administration) {
            builder = builder.with_service_name(name);
        }
        Some(builder)
    }

    /// Serves sessions until the drain, and those in flight until it is forced.
    pub(super) async fn serve(self, incoming: Incoming, watcher: Watcher) -> Result<(), RunError> {
        let certificates =
            Certificates::new(self.service.clone()).max_decoding_message_size(self.max_message_bytes);
        let stop = watcher.token();
        let signing = Signing::new(self.signing.clone().until(stop.clone()))
            .max_decoding_message_size(self.max_message_bytes);
        let administration = self.administration.clone().map(|(door, service)| {
            let server = Administration::new(service.until(stop.clone()));
            door.guard(server.max_decoding_message_size(MAX_STATEMENT_BYTES))
        });
        let legacy = self.legacy.then(|| {
            let server = Legacy::new(self.service.clone()).max_decoding_message_size(self.max_message_bytes);
            self.admission.guard(server)
        });
        // Checked when the server was made.
        let reflection = self.reflection_builder().and_then(|b| b.build_v1().ok());
        let reflection_alpha = self.reflection_builder().and_then(|b| b.build_v1alpha().ok());
        let (reporter, health) = tonic_health::server::health_reporter();
        let health = health.max_decoding_message_size(MAX_SMALL_MESSAGE_BYTES);
        let mirror = mirror(reporter, self.readiness.clone(), self.legacy);

        let served = tonic::transport::Server::builder()
            .max_concurrent_streams(self.max_streams)
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .http2_max_header_list_size(MAX_HEADER_BYTES)
            .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
            .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
            .add_service(self.admission.guard(certificates))
            .add_service(self.admission.guard_calls(signing, self.max_calls))
            .add_service(OpenService(health))
            .add_optional_service(legacy)
            .add_optional_service(administration)
            .add_optional_service(reflection.map(OpenService))
            .add_optional_service(reflection_alpha.map(OpenService))
            .serve_with_incoming_shutdown(incoming, stop.cancelled_owned());
        let both = async {
            tokio::select! {
                served = served => served,
                () = mirror => Ok(()),
            }
        };
        match run_with_drain("grpc", watcher, both).await {
            Some(served) => Ok(served?),
            None => Ok(()),
        }
    }
}

/// gRPC health says what `/readyz` says: of the server as a whole, and of each certificate service.
async fn mirror(reporter: HealthReporter, readiness: Readiness, legacy: bool) {
    let mut changes = readiness.watch();
    let mut reasons = readiness.reasons();
    loop {
        let status = if reasons.is_empty() {
            ServingStatus::Serving
        } else {
            ServingStatus::NotServing
        };
        reporter.set_service_status("", status).await;
        for name in [Certificates::NAME, Signing::NAME] {
            reporter.set_service_status(name, status).await;
        }
        if legacy {
            reporter.set_service_status(Legacy::NAME, status).await;
        }
        reasons = changes.changed().await;
    }
}
