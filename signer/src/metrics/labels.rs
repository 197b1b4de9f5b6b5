//! The labels of the metrics, and the words they take.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::MetricConstructor;
use prometheus_client::metrics::histogram::Histogram;

/// A part of one request whose time is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stage {
    /// Checking the credentials.
    Authenticate,
    /// Reading the message.
    Body,
    /// Parsing the CSR and verifying its own signature.
    Csr,
    /// The native ceiling and the policies.
    Authorize,
    /// Building and linting the bytes to be signed.
    Prepare,
    /// Recorded, signed and verified by the gate.
    Gate,
    /// From the headers to the answer.
    Total,
}

impl Stage {
    pub(super) const ALL: [Self; 7] = [
        Self::Authenticate,
        Self::Body,
        Self::Csr,
        Self::Authorize,
        Self::Prepare,
        Self::Gate,
        Self::Total,
    ];

    /// Its word on dashboards.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Authenticate => "authenticate",
            Self::Body => "body",
            Self::Csr => "csr",
            Self::Authorize => "authorize",
            Self::Prepare => "prepare",
            Self::Gate => "gate",
            Self::Total => "total",
        }
    }
}

/// Why a TLS handshake came to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HandshakeFailure {
    /// Not finished before the deadline.
    Timeout,
    /// Refused by TLS: version, certificate, or plain nonsense.
    Tls,
    /// The connection broke.
    Io,
}

impl HandshakeFailure {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Tls => "tls",
            Self::Io => "io",
        }
    }
}

/// Why a connection was closed before its handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refused {
    /// As many connections as allowed are open.
    Limit,
    /// There is no serving certificate yet.
    NoCertificate,
}

impl Refused {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Limit => "limit",
            Self::NoCertificate => "no_certificate",
        }
    }
}

/// Why a request found no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Overload {
    /// Too many bytes are held, by all or by its connection.
    Bytes,
    /// Too many wait, or it would wait too long.
    Queue,
}

impl Overload {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Bytes => "bytes",
            Self::Queue => "queue",
        }
    }
}

/// Label `error` of `citadel_server_csr_sign_err_count`, in Istio's words.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct SignError {
    pub(super) error: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct StageLabel {
    pub(super) stage: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ReasonLabel {
    pub(super) reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct VerdictLabel {
    pub(super) policy: String,
    pub(super) verdict: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ShadowLabel {
    pub(super) policy: String,
    pub(super) difference: &'static str,
    pub(super) origin: &'static str,
}

/// Who wanted shadows: the set in force, or somebody at this front alone.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct OriginLabel {
    pub(super) origin: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct CodeLabel {
    pub(super) method: &'static str,
    pub(super) code: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct IssuerLabel {
    pub(super) issuer: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ResultLabel {
    pub(super) result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct RecordedLabel {
    pub(super) recorded: &'static str,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct LatencyBuckets;

impl MetricConstructor<Histogram> for LatencyBuckets {
    fn new_metric(&self) -> Histogram {
        Histogram::new([
            0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
            5.0, 10.0,
        ])
    }
}

/// Fine where a decision of a few policies lies: tens of microseconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct ExecutionBuckets;

impl MetricConstructor<Histogram> for ExecutionBuckets {
    fn new_metric(&self) -> Histogram {
        let micros = [
            5.0, 10.0, 15.0, 20.0, 25.0, 30.0, 35.0, 40.0, 50.0, 60.0, 80.0, 100.0, 150.0, 250.0, 500.0, 1e3,
            2.5e3, 10e3, 100e3, 1e6,
        ];
        Histogram::new(micros.map(|micros| micros / 1e6))
    }
}
