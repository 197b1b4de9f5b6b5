//! The call to the signer, and what its refusals mean.

use std::{error::Error, fs, path::Path, sync::Arc, time::Duration};

use sealwright_proto::istio::{
    IstioCertificateRequest, istio_certificate_service_client::IstioCertificateServiceClient,
};
use sealwright_runtime::Chain;
use sealwright_x509::pem;
use tonic::{
    Code, Request, Status,
    metadata::MetadataValue,
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity},
};
use tonic_types::StatusExt;
use zeroize::Zeroizing;

use super::handshake;
use crate::{
    args::IssueArgs,
    failure::{Class, Failure, OrFail},
};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const CALL_TIMEOUT: Duration = Duration::from_secs(30);

/// Credentials of one call.
pub(crate) struct Credentials {
    /// Roots of the signer's own certificate, PEM.
    roots: Arc<[u8]>,
    /// Chain and key to renew with, PEM.
    identity: Option<(Vec<u8>, Zeroizing<Vec<u8>>)>,
    /// A bearer token.
    token: Option<Zeroizing<String>>,
}

impl Credentials {
    /// Reads the files, anew at each call: tokens and certificates are rotated.
    pub(crate) fn read(args: &IssueArgs) -> Result<Self, Failure> {
        let identity = match (&args.cert, &args.key) {
            (Some(cert), Some(key)) => Some((read(cert)?, Zeroizing::new(read(key)?))),
            _ => None,
        };
        let token = args.token_file.as_deref().map(read_token).transpose()?;
        Ok(Self {
            roots: read_roots(&args.ca_file)?.into(),
            identity,
            token,
        })
    }

    /// A client certificate from files.
    pub(crate) fn certificate(roots: &Path, cert: &Path, key: &Path) -> Result<Self, Failure> {
        Ok(Self {
            roots: read_roots(roots)?.into(),
            identity: Some((read(cert)?, Zeroizing::new(read(key)?))),
            token: None,
        })
    }

    /// A token from a file.
    pub(crate) fn bearer(roots: &Path, token: &Path) -> Result<Self, Failure> {
        Ok(Self::of_token(Self::roots(roots)?, read_token(token)?))
    }

    /// Roots, to be shared by many.
    pub(crate) fn roots(file: &Path) -> Result<Arc<[u8]>, Failure> {
        Ok(read_roots(file)?.into())
    }

    /// A token that is at hand.
    pub(crate) fn of_token(roots: Arc<[u8]>, token: Zeroizing<String>) -> Self {
        Self {
            roots,
            identity: None,
            token: Some(token),
        }
    }

    /// The refusal; where the connection just ended, whether the client certificate is why.
    async fn refused_by(&self, server: &str, status: &Status) -> Failure {
        let (Some(broken), Some((chain, key))) = (broken_connection(status), &self.identity) else {
            return refusal(status);
        };
        let Ok(host) = host(server) else {
            return broken;
        };
        match handshake::alert(server, host, &self.roots, chain, key).await {
            Some(alert) => Failure::text(
                Class::Authentication,
                format!("UNAUTHENTICATED: the signer refused the client certificate: {alert}"),
            ),
            None => broken,
        }
    }

    /// The message with the token, if there is one, and a deadline.
    pub(crate) fn authorize<T>(&self, message: T) -> Result<Request<T>, Failure> {
        let mut request = Request::new(message);
        request.set_timeout(CALL_TIMEOUT);
        if let Some(token) = &self.token {
            let value = Zeroizing::new(format!("Bearer {}", token.as_str()));
            let mut value: MetadataValue<_> = value
                .parse()
                .or_fail_doing(Class::Input, "the token holds characters that no token has")?;
            value.set_sensitive(true);
            request.metadata_mut().insert("authorization", value);
        }
        Ok(request)
    }
}

/// Asks for a certificate. The answer: leaf, intermediates, and last the root bundle, all PEM.
pub(crate) async fn create_certificate(args: &IssueArgs, csr: &str) -> Result<Vec<String>, Failure> {
    let credentials = Credentials::read(args)?;
    let channel = connect(&args.server, &credentials).await?;
    let lifetime = i64::try_from(args.ttl.get().as_secs()).or_fail(Class::Usage)?;
    let message = IstioCertificateRequest {
        csr: csr.to_owned(),
        validity_duration: lifetime,
        metadata: None,
    };
    let request = credentials.authorize(message)?;
    let answer = IstioCertificateServiceClient::new(channel)
        .create_certificate(request)
        .await;
    match answer {
        Ok(answer) => Ok(answer.into_inner().cert_chain),
        Err(status) => Err(credentials.refused_by(&args.server, &status).await),
    }
}

pub(crate) async fn connect(server: &str, credentials: &Credentials) -> Result<Channel, Failure> {
    connect_for(server, credentials, CALL_TIMEOUT).await
}

/// The same for calls that may take so long.
pub(crate) async fn connect_for(
    server: &str,
    credentials: &Credentials,
    call: Duration,
) -> Result<Channel, Failure> {
    let host = host(server)?;
    let mut tls = ClientTlsConfig::new()
        .ca_certificate(Certificate::from_pem(&credentials.roots))
        .domain_name(host);
    if let Some((chain, key)) = &credentials.identity {
        tls = tls.identity(Identity::from_pem(chain, key));
    }
    let endpoint = Endpoint::from_shared(format!("https://{server}"))
        .map_err(|_| malformed(server))?
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(call)
        .tls_config(tls)
        .or_fail_doing(Class::Input, "the certificates or the key cannot be used for TLS")?;
    endpoint
        .connect()
        .await
        .or_fail_doing(Class::Unavailable, format!("UNAVAILABLE: cannot reach {server}"))
}

/// The host of `HOST:PORT`, without the brackets of an IPv6 address.
fn host(server: &str) -> Result<&str, Failure> {
    let (host, port) = server.rsplit_once(':').ok_or_else(|| malformed(server))?;
    port.parse::<u16>().map_err(|_| malformed(server))?;
    Ok(host.trim_start_matches('[').trim_end_matches(']'))
}

fn malformed(server: &str) -> Failure {
    Failure::text(Class::Usage, format!("--server {server:?} is not HOST:PORT"))
}

/// A refusal with its code by name, the signer's words, and the class of its code.
pub(crate) fn refusal(status: &Status) -> Failure {
    if let Some(failure) = broken_connection(status) {
        return failure;
    }
    let class = match status.code() {
        Code::Unauthenticated => Class::Authentication,
        Code::PermissionDenied => Class::Denied,
        Code::Unavailable | Code::DeadlineExceeded | Code::ResourceExhausted | Code::Cancelled => {
            Class::Unavailable
        }
        Code::InvalidArgument | Code::OutOfRange | Code::FailedPrecondition => Class::Input,
        _ => Class::Internal,
    };
    let message = status.message();
    let mut text = format!("{}: {message}", code_name(status.code()));
    let details = status.get_error_details();
    let reason = details.error_info().map(|info| info.reason.as_str());
    if let Some(reason) = reason.filter(|reason| !message.contains(reason)) {
        text.push_str(&format!(" ({reason})"));
    }
    for (name, key) in [("policy", "policy"), ("hint", "hint")] {
        let said = details.error_info().and_then(|info| info.metadata.get(key));
        if let Some(said) = said {
            text.push_str(&format!("; {name}: {said}"));
        }
    }
    let violations = details.bad_request().map(|bad| &bad.field_violations[..]);
    for violation in violations.unwrap_or_default() {
        text.push_str(&format!("; {}", violation.field));
        if !message.contains(&violation.description) {
            text.push_str(&format!(": {}", violation.description));
        }
    }
    if let Some(delay) = details.retry_info().and_then(|retry| retry.retry_delay) {
        text.push_str(&format!("; try again in {} ms", delay.as_millis()));
    }
    Failure::text(class, text)
}

/// No answer of the signer, but the end of the connection: tonic calls it UNKNOWN or CANCELLED.
fn broken_connection(status: &Status) -> Option<Failure> {
    let cause = status
        .source()
        .filter(|_| matches!(status.code(), Code::Unknown | Code::Cancelled))?;
    let chain = Chain(cause);
    Some(Failure::text(
        Class::Unavailable,
        format!("UNAVAILABLE: the connection ended: {chain}"),
    ))
}

/// The code's name in the protocol.
pub(crate) fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    fs::read(path).or_fail_doing(Class::Usage, format!("cannot read {}", path.display()))
}

fn read_roots(path: &Path) -> Result<Vec<u8>, Failure> {
    let text = read(path)?;
    let holds = || format!("{} holds no PEM certificates", path.display());
    match pem::decode_all(pem::CERTIFICATE, &text)
        .or_fail_doing(Class::Input, holds())?
        .len()
    {
        0 => Err(Failure::text(Class::Input, holds())),
        _ => Ok(text),
    }
}

fn read_token(path: &Path) -> Result<Zeroizing<String>, Failure> {
    let text = Zeroizing::new(read(path)?);
    let text = std::str::from_utf8(&text)
        .or_fail_doing(Class::Input, format!("{} holds no token", path.display()))?;
    Ok(Zeroizing::new(text.trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_decides_the_class_and_is_named() {
        for (code, class) in [
            (Code::Unauthenticated, Class::Authentication),
            (Code::PermissionDenied, Class::Denied),
            (Code::ResourceExhausted, Class::Unavailable),
            (Code::InvalidArgument, Class::Input),
            (Code::Unimplemented, Class::Internal),
        ] {
            let failure = refusal(&Status::new(code, "because"));
            assert_eq!(failure.class(), class);
            assert_eq!(failure.to_string(), format!("{}: because", code_name(code)));
        }
    }
}
