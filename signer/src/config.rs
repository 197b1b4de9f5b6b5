//! The front's part of the configuration file.
//!
//! Sections that the gate must read too (`[[issuers]]`, `[[policies]]`, trust domain) are defined
//! in the gate's `config`; here are those that only the front needs.

mod signing;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use sealwright_gate::config::{IssuerConfig, PolicyConfig};
use sealwright_identity::HumanDuration;
use sealwright_runtime::tls::MinVersion;
use serde::Deserialize;

use crate::authn::Trust;
use crate::authn::config::AuthenticatorConfig;
use crate::policies::PolicyRoleConfig;

pub use signing::SigningConfig;

/// `policy_host.front_shadows` at most.
const MAX_FRONT_SHADOWS: usize = 16;

/// All that `App::build` needs to know. The binary composes it from the file's sections.
#[derive(Clone, Debug)]
pub struct SignerConfig {
    /// The trust domain and its aliases.
    pub trust: Trust,
    /// The issuer of a request that names none.
    pub default_issuer: String,
    /// The gRPC server.
    pub server: ServerConfig,
    /// Where `/livez`, `/readyz`, `/metrics` and `/bundle` are served.
    pub http: SocketAddr,
    /// Who is believed, in order.
    pub authenticators: Vec<AuthenticatorConfig>,
    /// Whose name is signed with, and inside which ceiling.
    pub issuers: Vec<IssuerConfig>,
    /// What decides.
    pub policies: Vec<PolicyConfig>,
    /// Where policies run.
    pub policy_host: PolicyHostConfig,
    /// Who may do what with policy sets.
    pub policy_roles: Vec<PolicyRoleConfig>,
}

/// `[server]`: the gRPC server.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ServerConfig {
    /// Address and port; port 0 lets the system choose.
    pub listen: SocketAddr,
    /// Folder of the serving certificate and its key.
    pub state: PathBuf,
    /// A TLS handshake that takes longer is given up.
    pub handshake_timeout: HumanDuration,
    /// A connection on which nobody was authenticated for so long is closed.
    pub authentication_timeout: HumanDuration,
    /// A request that takes longer is answered DEADLINE_EXCEEDED.
    pub request_timeout: HumanDuration,
    /// Open connections, handshakes included.
    pub max_connections: usize,
    /// Requests in work at a time; the others wait their turn.
    pub max_in_work: usize,
    /// HTTP/2 streams open at once on one connection.
    pub max_streams_per_connection: u32,
    /// Largest message, in bytes.
    pub max_message_bytes: usize,
    /// Bytes of messages held in memory by all requests together.
    pub max_buffered_bytes: usize,
    /// Largest CSR, in bytes, as it was sent.
    pub max_csr_bytes: usize,
    /// Serves the deprecated `IstioCAService/HandleCSR` too.
    pub legacy_csr_service: bool,
    /// Serves gRPC reflection.
    pub reflection: bool,
    /// How long requests in flight may take to finish once the server was told to stop.
    pub drain_timeout: HumanDuration,
    /// Calls with many requests.
    pub signing: SigningConfig,
    /// What one identity may ask for; without it, as much as there is.
    pub identity_rate: Option<IdentityRateConfig>,
    /// TLS.
    pub tls: TlsConfig,
    /// More of the front's environment, verbatim; of the supervisor's only what its libraries read comes along.
    pub env: BTreeMap<String, String>,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 15012)),
            state: PathBuf::from("front"),
            handshake_timeout: HumanDuration::from_secs(10),
            authentication_timeout: HumanDuration::from_secs(60),
            request_timeout: HumanDuration::from_secs(10),
            max_connections: 10_000,
            max_in_work: 128,
            max_streams_per_connection: 1_000,
            max_message_bytes: 4 << 20,
            max_buffered_bytes: 64 << 20,
            max_csr_bytes: 16 << 10,
            legacy_csr_service: false,
            reflection: true,
            drain_timeout: HumanDuration::from_secs(10),
            signing: SigningConfig::default(),
            identity_rate: None,
            tls: TlsConfig::default(),
            env: BTreeMap::new(),
        }
    }
}

/// `[server.identity_rate]`: a bucket for each identity.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IdentityRateConfig {
    /// What a bucket gains in a second.
    pub certificates_per_second: f64,
    /// What a full one holds.
    pub burst: u32,
}

/// `[server.tls]`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TlsConfig {
    /// The oldest version spoken.
    pub min_version: MinVersion,
}

/// `[policy_host]`: the threads that run policies.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PolicyHostConfig {
    /// Worker threads; 0 is one for each processor.
    pub threads: usize,
    /// Decisions that may wait for a thread; one more is refused as overload.
    pub queue: usize,
    /// Backstop for a policy that fuel did not stop; at least a second.
    pub epoch_deadline: HumanDuration,
    /// Keeps compiled code in the folder `code` of `server.state`, for the next start.
    pub keep_code: bool,
    /// Revisions that people may run in shadow at this front alone, at a time; 0 is none.
    pub front_shadows: usize,
}

impl Default for PolicyHostConfig {
    fn default() -> Self {
        Self {
            threads: 0,
            queue: 256,
            epoch_deadline: HumanDuration::from_secs(2),
            keep_code: true,
            front_shadows: 4,
        }
    }
}

/// A setting that cannot be served with.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ConfigError {
    /// Zero where at least one is needed.
    #[error("server.{key} is 0: set it to at least 1, or leave it out for the default")]
    Zero {
        /// The key in `[server]`.
        key: &'static str,
    },
    /// No single message of the largest size would fit.
    #[error("server.max_buffered_bytes ({buffered}) is below server.max_message_bytes ({message}): raise it")]
    BufferBelowMessage {
        /// Bytes of all messages together.
        buffered: usize,
        /// Bytes of one message.
        message: usize,
    },
    /// A rate that no bucket can have.
    #[error(
        "server.identity_rate.certificates_per_second is {value}: set it to something from 0.01 to 1000000, or \
         leave [server.identity_rate] out for no limit"
    )]
    Rate {
        /// As it was written.
        value: String,
    },
    /// A bucket that never holds a whole certificate.
    #[error("server.identity_rate.burst is 0: set it to at least 1, or nobody ever gets a certificate")]
    Burst,
    /// Too small for the requests of a single caller.
    #[error("server.{key} is below {min}: raise it, or leave it out for the default")]
    TooSmall {
        /// The key in `[server]`.
        key: &'static str,
        /// The smallest value.
        min: usize,
    },
    /// Too short for any client.
    #[error("server.{key} is below 1s: raise it, or leave it out for the default")]
    TooShort {
        /// The key in `[server]`.
        key: &'static str,
    },
    /// The backstop would hit before fuel does.
    #[error("policy_host.epoch_deadline is below 1s: it is a backstop, fuel is what decides")]
    EpochTooShort,
    /// Each one is compiled code that is kept in memory, and asked at each request.
    #[error("policy_host.front_shadows is {asked}: set it to at most {MAX_FRONT_SHADOWS}")]
    FrontShadows {
        /// As it was written.
        asked: usize,
    },
    /// Larger than what a length in a gRPC frame or a permit count can say.
    #[error("server.{key} is above {max}: lower it")]
    TooLarge {
        /// The key in `[server]`.
        key: &'static str,
        /// The largest value.
        max: usize,
    },
}

impl ServerConfig {
    /// Refuses what could not work.
    ///
    /// # Errors
    /// The first setting that does not fit.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let sizes = [
            ("max_connections", self.max_connections),
            ("max_in_work", self.max_in_work),
            (
                "max_streams_per_connection",
                usize::try_from(self.max_streams_per_connection).unwrap_or(usize::MAX),
            ),
            ("max_message_bytes", self.max_message_bytes),
            ("max_buffered_bytes", self.max_buffered_bytes),
            ("max_csr_bytes", self.max_csr_bytes),
        ];
        const MAX: usize = 1 << 30;
        for (key, value) in sizes {
            if value == 0 {
                return Err(ConfigError::Zero { key });
            }
            if value > MAX {
                return Err(ConfigError::TooLarge { key, max: MAX });
            }
        }
        self.signing.validate()?;
        if self.max_buffered_bytes < self.max_message_bytes {
            return Err(ConfigError::BufferBelowMessage {
                buffered: self.max_buffered_bytes,
                message: self.max_message_bytes,
            });
        }
        // Strangers have a part of it, in which a few requests must fit.
        const MIN_BUFFERED: usize = 64 << 10;
        if self.max_buffered_bytes < MIN_BUFFERED {
            return Err(ConfigError::TooSmall {
                key: "max_buffered_bytes",
                min: MIN_BUFFERED,
            });
        }
        self.identity_rate
            .as_ref()
            .map_or(Ok(()), IdentityRateConfig::validate)
    }
}

impl IdentityRateConfig {
    fn validate(&self) -> Result<(), ConfigError> {
        let rate = self.certificates_per_second;
        // Not a number is in no range.
        if !(0.01..=1e6).contains(&rate) {
            return Err(ConfigError::Rate {
                value: rate.to_string(),
            });
        }
        if self.burst == 0 {
            return Err(ConfigError::Burst);
        }
        Ok(())
    }
}

impl PolicyHostConfig {
    /// Refuses what could not work.
    ///
    /// # Errors
    /// A backstop so short that it would decide instead of fuel.
    pub fn validate(&self) -> Result<(), ConfigError> {
        if self.epoch_deadline.get() < Duration::from_secs(1) {
            return Err(ConfigError::EpochTooShort);
        }
        if self.front_shadows > MAX_FRONT_SHADOWS {
            return Err(ConfigError::FrontShadows {
                asked: self.front_shadows,
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
