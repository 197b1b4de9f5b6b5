//! A client of Istio's certificate service.

use sealwright_proto::istio::{
    IstioCertificateRequest, istio_certificate_service_client::IstioCertificateServiceClient,
};
use tonic::{
    Request, Status,
    transport::{Certificate, Channel, ClientTlsConfig, Identity},
};

use crate::Signer;

/// Header values to send: name and value.
pub type Metadata<'a> = &'a [(&'static str, &'a str)];

/// A connection to a signer.
#[derive(Clone)]
pub struct Client {
    channel: Channel,
}

impl Client {
    /// Over TLS, without a client certificate.
    pub async fn connect(signer: &Signer) -> Self {
        Self::with(signer, Self::tls(signer)).await.unwrap()
    }

    /// Over TLS, to any server, with the roots in a file.
    pub async fn connect_to(server: &str, roots: &std::path::Path) -> Self {
        let tls = ClientTlsConfig::new()
            .ca_certificate(Certificate::from_pem(std::fs::read(roots).unwrap()))
            .domain_name("localhost");
        Self::to(server, tls).await.unwrap()
    }

    /// Over TLS, with a client certificate and its key in PEM.
    pub async fn connect_with(
        signer: &Signer,
        chain: &str,
        key: &str,
    ) -> Result<Self, tonic::transport::Error> {
        Self::with(signer, Self::tls(signer).identity(Identity::from_pem(chain, key))).await
    }

    /// The same with a client certificate and its key in PEM.
    pub async fn connect_as(server: &str, roots: &std::path::Path, chain: &str, key: &str) -> Self {
        let tls = ClientTlsConfig::new()
            .ca_certificate(Certificate::from_pem(std::fs::read(roots).unwrap()))
            .domain_name("localhost")
            .identity(Identity::from_pem(chain, key));
        Self::to(server, tls).await.unwrap()
    }

    fn tls(signer: &Signer) -> ClientTlsConfig {
        let roots = std::fs::read(signer.trust_bundle()).unwrap();
        ClientTlsConfig::new()
            .ca_certificate(Certificate::from_pem(roots))
            .domain_name("localhost")
    }

    async fn with(signer: &Signer, tls: ClientTlsConfig) -> Result<Self, tonic::transport::Error> {
        Self::to(signer.grpc(), tls).await
    }

    async fn to(server: &str, tls: ClientTlsConfig) -> Result<Self, tonic::transport::Error> {
        let endpoint = Channel::from_shared(format!("https://{server}"))
            .unwrap()
            .tls_config(tls)?;
        Ok(Self {
            channel: endpoint.connect().await?,
        })
    }

    /// The connection, for other services.
    pub fn channel(&self) -> Channel {
        self.channel.clone()
    }

    /// Asks for a certificate with a bearer token.
    pub async fn create(&self, token: &str, csr: &str, seconds: i64) -> Result<Vec<String>, Status> {
        let bearer = format!("Bearer {token}");
        self.create_with(&[("authorization", &bearer)], request(csr, seconds))
            .await
    }

    /// Asks for a certificate with the headers and message given.
    pub async fn create_with(
        &self,
        headers: Metadata<'_>,
        message: IstioCertificateRequest,
    ) -> Result<Vec<String>, Status> {
        let mut request = Request::new(message);
        for (name, value) in headers {
            request.metadata_mut().append(*name, value.parse().unwrap());
        }
        let mut client =
            IstioCertificateServiceClient::new(self.channel()).max_encoding_message_size(64 * 1024 * 1024);
        Ok(client.create_certificate(request).await?.into_inner().cert_chain)
    }
}

/// A request message without metadata.
pub fn request(csr: &str, seconds: i64) -> IstioCertificateRequest {
    IstioCertificateRequest {
        csr: csr.to_owned(),
        validity_duration: seconds,
        metadata: None,
    }
}
