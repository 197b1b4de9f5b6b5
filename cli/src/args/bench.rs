//! The arguments of `sealwright bench`.

use std::path::PathBuf;

use clap::{ArgGroup, Args};
use sealwright_identity::HumanDuration;

use super::{Algorithm, LeafKey};
use crate::text;

/// `sealwright bench`.
#[derive(Debug, Args)]
#[command(after_help = text::BENCH)]
#[command(group = ArgGroup::new("load").multiple(false))]
pub(crate) struct BenchArgs {
    /// A running signer [default: start one for the measurement].
    #[arg(long, value_name = "HOST:PORT", requires_all = ["ca_file", "token_file"])]
    pub(crate) server: Option<String>,
    /// PEM roots that the signer's own certificate is verified with.
    #[arg(long, value_name = "FILE", requires = "server")]
    pub(crate) ca_file: Option<PathBuf>,
    /// File of a service-account token.
    #[arg(long, value_name = "FILE", requires = "server")]
    pub(crate) token_file: Option<PathBuf>,
    /// Requests in flight, or calls with --stream.
    #[arg(long, value_name = "N", default_value_t = 16)]
    pub(crate) in_flight: usize,
    /// Connections that they share.
    #[arg(long, value_name = "N", default_value_t = 2)]
    pub(crate) connections: usize,
    /// Requests at a time in each call of the signing service, instead of one call each.
    #[arg(long, value_name = "N", group = "load")]
    pub(crate) stream: Option<usize>,
    /// So many connections, each with a handshake, a token and one certificate of its own.
    #[arg(long, value_name = "N", group = "load", conflicts_with_all = ["server", "half", "idle_connections"])]
    pub(crate) burst: Option<usize>,
    /// Connections of a burst that are at work at once.
    #[arg(long, value_name = "N", default_value_t = 256, requires = "burst")]
    pub(crate) burst_in_flight: usize,
    /// Measure again at half of the rate that came out, with arrivals that do not wait for answers.
    #[arg(long)]
    pub(crate) half: bool,
    /// Authenticated connections that stay open beside the load.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) idle_connections: usize,
    /// Identities that the requests are spread over.
    #[arg(long, value_name = "N", default_value_t = 1, conflicts_with = "server")]
    pub(crate) identities: usize,
    /// How long to measure, after a second to warm up.
    #[arg(long, value_name = "DURATION", default_value = "10s")]
    pub(crate) duration: HumanDuration,
    /// Kind of the workloads' keys.
    #[arg(long, value_enum, value_name = "TYPE", default_value = "p256")]
    pub(crate) key_type: LeafKey,
    /// Kind of the CA's keys, of an own signer.
    #[arg(
        long,
        value_enum,
        value_name = "ALGORITHM",
        default_value = "p256",
        conflicts_with = "server"
    )]
    pub(crate) algorithm: Algorithm,
    /// Home of an own signer; made if it is not there, and kept [default: a temporary one].
    #[arg(long, value_name = "DIR", conflicts_with = "server")]
    pub(crate) home: Option<PathBuf>,
    /// PKCS#11 module of an own signer [default: SoftHSM].
    #[arg(long, value_name = "FILE", env = "SEALWRIGHT_PKCS11_MODULE")]
    pub(crate) pkcs11_module: Option<PathBuf>,
    /// Program that measures the token alone (tests/bin/csign.rs), for the ratio.
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with = "server",
        env = "SEALWRIGHT_CSIGN"
    )]
    pub(crate) csign: Option<PathBuf>,
}
