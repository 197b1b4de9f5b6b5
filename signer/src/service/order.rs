//! What is asked for: the message, bounded and parsed once.
//!
//! Known metadata is `CertSigner` and `ImpersonatedIdentity`. All else is ignored, and shown to
//! the policies as claims that nobody has verified.

use std::collections::BTreeMap;

use prost_types::value::Kind;
use prost_types::{Struct, Value};
use sealwright_proto::istio::{CsrRequest, IstioCertificateRequest};
use sealwright_proto::signing::SignRequest;

use super::context::{Admitted, RequestContext};
use super::status::RequestError;

/// The metadata of one request, as canonical JSON: it goes into the ledger.
const MAX_METADATA_BYTES: usize = 8 << 10;
/// The claimed cluster among the claims.
const CLUSTER_CLAIM: &str = "clusterid";
const CERT_SIGNER: &str = "CertSigner";
const IMPERSONATED_IDENTITY: &str = "ImpersonatedIdentity";

/// A request for a certificate, inside its bounds.
#[derive(Clone, Debug)]
pub struct CertificateOrder {
    csr: Vec<u8>,
    requested_seconds: u64,
    cert_signer: String,
    impersonated: Option<String>,
    claims: BTreeMap<String, String>,
    metadata: String,
    context: RequestContext,
}

/// What is wrong with a request.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum OrderError {
    /// The lifetime is below zero.
    #[error("the requested lifetime of {seconds} s is negative")]
    NegativeLifetime {
        /// As it was asked for.
        seconds: i64,
    },
    /// No CSR and no metadata that could be granted is as long.
    #[error("a message of {bytes} bytes is above the {limit} that CSR and metadata may have")]
    TooLarge {
        /// What the frame header says.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// `CertSigner` is not a string.
    #[error("metadata {CERT_SIGNER} is not a string")]
    SignerNotString,
    /// Too much metadata.
    #[error("the metadata is larger than {MAX_METADATA_BYTES} bytes")]
    MetadataTooLarge,
    /// The deprecated service wants a name in the CSR.
    #[error("the CSR asks for no name")]
    NoName,
    /// A number that JSON cannot say.
    #[error("the metadata has no JSON form")]
    MetadataNotJson,
}

impl CertificateOrder {
    /// The CSR as it was sent.
    pub fn csr(&self) -> &[u8] {
        &self.csr
    }

    /// The lifetime asked for, in seconds; 0 asks for the issuer's default.
    pub fn requested_seconds(&self) -> u64 {
        self.requested_seconds
    }

    /// The issuer asked for; empty asks for the default one.
    pub fn cert_signer(&self) -> &str {
        &self.cert_signer
    }

    /// The identity that the caller wants to act for; unverified.
    pub fn impersonated(&self) -> Option<&str> {
        self.impersonated.as_deref()
    }

    /// Request metadata that nobody has verified.
    pub fn claims(&self) -> &BTreeMap<String, String> {
        &self.claims
    }

    /// The metadata as canonical JSON (RFC 8785); empty when there was none.
    pub fn metadata(&self) -> &str {
        &self.metadata
    }

    /// The request's context.
    pub fn context(&self) -> &RequestContext {
        &self.context
    }

    #[cfg(test)]
    pub(super) fn of(requested_seconds: u64, context: RequestContext) -> Self {
        Self {
            csr: Vec::new(),
            requested_seconds,
            cert_signer: String::new(),
            impersonated: None,
            claims: BTreeMap::new(),
            metadata: String::new(),
            context,
        }
    }

    fn new(
        csr: Vec<u8>,
        seconds: i64,
        metadata: Option<&Struct>,
        context: RequestContext,
    ) -> Result<Self, RequestError> {
        let requested_seconds =
            u64::try_from(seconds).map_err(|_negative| OrderError::NegativeLifetime { seconds })?;
        let impersonated = metadata.and_then(impersonated).map(str::to_owned);
        let cert_signer = metadata.map_or(Ok(String::new()), cert_signer)?;
        let (mut claims, metadata) = metadata.map_or_else(|| Ok(Default::default()), claims)?;
        if let Some(cluster) = &context.claimed_cluster {
            claims
                .entry(CLUSTER_CLAIM.to_owned())
                .or_insert_with(|| cluster.clone());
        }
        Ok(Self {
            csr,
            requested_seconds,
            cert_signer,
            impersonated,
            claims,
            metadata,
            context,
        })
    }
}

impl TryFrom<tonic::Request<IstioCertificateRequest>> for CertificateOrder {
    type Error = RequestError;

    fn try_from(request: tonic::Request<IstioCertificateRequest>) -> Result<Self, RequestError> {
        let context = Admitted::context(&request)?;
        let message = request.into_inner();
        Self::new(
            message.csr.into_bytes(),
            message.validity_duration,
            message.metadata.as_ref(),
            context,
        )
    }
}

impl TryFrom<tonic::Request<SignRequest>> for CertificateOrder {
    type Error = RequestError;

    fn try_from(request: tonic::Request<SignRequest>) -> Result<Self, RequestError> {
        let context = Admitted::context(&request)?;
        let message = request.into_inner();
        let metadata = message.metadata.as_ref();
        Self::new(message.csr, message.validity_duration, metadata, context)
    }
}

impl TryFrom<tonic::Request<CsrRequest>> for CertificateOrder {
    type Error = RequestError;

    /// Minutes here; the credential in the message is not looked at, as in Istio's own server.
    fn try_from(request: tonic::Request<CsrRequest>) -> Result<Self, RequestError> {
        let context = Admitted::context(&request)?;
        let message = request.into_inner();
        let seconds = i64::from(message.requested_ttl_minutes) * 60;
        Self::new(message.csr_pem, seconds, None, context)
    }
}

/// Istio reads the string and takes anything else, and an empty one, as not asked.
fn impersonated(metadata: &Struct) -> Option<&str> {
    match metadata.fields.get(IMPERSONATED_IDENTITY)?.kind.as_ref()? {
        Kind::StringValue(identity) if !identity.is_empty() => Some(identity),
        _ => None,
    }
}

fn cert_signer(metadata: &Struct) -> Result<String, OrderError> {
    match metadata
        .fields
        .get(CERT_SIGNER)
        .and_then(|value| value.kind.as_ref())
    {
        None | Some(Kind::NullValue(_)) => Ok(String::new()),
        Some(Kind::StringValue(name)) => Ok(name.clone()),
        Some(_) => Err(OrderError::SignerNotString),
    }
}

/// Every member but the known ones as text, and the whole as canonical JSON.
fn claims(metadata: &Struct) -> Result<(BTreeMap<String, String>, String), OrderError> {
    let json = json_object(metadata)?;
    let text = canonical(&json)?;
    if text.len() > MAX_METADATA_BYTES {
        return Err(OrderError::MetadataTooLarge);
    }
    let claims = json
        .into_iter()
        .filter(|(name, _)| name != CERT_SIGNER && name != IMPERSONATED_IDENTITY)
        .map(|(name, value)| match value {
            serde_json::Value::String(text) => Ok((name, text)),
            other => Ok((name, canonical(&other)?)),
        })
        .collect::<Result<_, OrderError>>()?;
    Ok((claims, text))
}

fn canonical<T: serde::Serialize>(value: &T) -> Result<String, OrderError> {
    serde_json_canonicalizer::to_string(value).map_err(|_error| OrderError::MetadataNotJson)
}

/// Depth is bounded by the decoder that made the message.
fn json_object(metadata: &Struct) -> Result<serde_json::Map<String, serde_json::Value>, OrderError> {
    metadata
        .fields
        .iter()
        .map(|(name, value)| Ok((name.clone(), json_value(value)?)))
        .collect()
}

fn json_value(value: &Value) -> Result<serde_json::Value, OrderError> {
    Ok(match value.kind.as_ref() {
        None | Some(Kind::NullValue(_)) => serde_json::Value::Null,
        Some(Kind::BoolValue(value)) => (*value).into(),
        Some(Kind::StringValue(text)) => text.as_str().into(),
        Some(Kind::NumberValue(number)) => serde_json::Number::from_f64(*number)
            .map(serde_json::Value::Number)
            .ok_or(OrderError::MetadataNotJson)?,
        Some(Kind::ListValue(list)) => list
            .values
            .iter()
            .map(json_value)
            .collect::<Result<Vec<_>, _>>()?
            .into(),
        Some(Kind::StructValue(object)) => json_object(object)?.into(),
    })
}

#[cfg(test)]
mod tests;
