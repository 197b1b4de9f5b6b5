//! The arguments of `sealwright policy`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use sealwright_identity::SerialNumber;
use sealwright_policy_wasm::Limits;

use super::SetCommand;
use crate::text;

/// `sealwright policy`.
#[derive(Debug, Args)]
#[command(after_help = text::POLICY)]
pub(crate) struct PolicyArgs {
    #[command(subcommand)]
    pub(crate) command: PolicyCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum PolicyCommand {
    /// Make a folder with a policy in it, ready to build.
    New(NewArgs),
    /// Build a policy: the module, and the archive of its source.
    Build(BuildArgs),
    /// Run a policy's vectors in the production host.
    Test(TestArgs),
    /// Build a module's source again, and compare.
    VerifySource(VerifySourceArgs),
    /// Judge a module in a process of its own, and print the report.
    #[command(hide = true)]
    Admit(AdmitArgs),
    /// What a module says about itself: name, version, the schema of its settings, digests.
    Describe(DescribeArgs),
    /// Execute every decision of an export again, with nothing but the export.
    Replay(ReplayArgs),
    /// Write a recorded request and its verdict as a test vector.
    Vector(VectorArgs),
    #[command(flatten)]
    Sets(Box<SetCommand>),
}

/// `sealwright policy vector`.
#[derive(Debug, Args)]
#[command(after_help = text::POLICY_VECTOR)]
pub(crate) struct VectorArgs {
    #[command(flatten)]
    pub(crate) place: super::Where,
    /// The certificate's serial, in hex.
    #[arg(long, value_name = "HEX")]
    pub(crate) serial: SerialNumber,
    /// The policy whose verdict is expected [default: the only one that was asked].
    #[arg(long, value_name = "NAME")]
    pub(crate) policy: Option<String>,
    /// A new file to write to [default: standard output].
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
}

/// `sealwright policy replay`.
#[derive(Debug, Args)]
#[command(after_help = text::REPLAY)]
pub(crate) struct ReplayArgs {
    /// A file that `log export` wrote.
    #[arg(long, value_name = "FILE")]
    pub(crate) bundle: PathBuf,
    /// PEM of the CA certificates that you trust, from elsewhere than the export.
    #[arg(long, value_name = "FILE")]
    pub(crate) trust_anchor: PathBuf,
    /// Digest of the first roster, from elsewhere than the export: who may agree to what decides.
    #[arg(long, value_name = "DIGEST")]
    pub(crate) roster: Option<sealwright_identity::Digest>,
    /// Digest of the key ceremonies' roster, or of the transcript, from their paper: who made the issuers' keys.
    #[arg(long, value_name = "DIGEST")]
    pub(crate) ceremony: Option<sealwright_identity::Digest>,
    /// Threads [default: one for each processor].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(crate) threads: Option<u16>,
}

/// `sealwright policy new`.
#[derive(Debug, Args)]
#[command(after_help = text::POLICY_NEW)]
pub(crate) struct NewArgs {
    /// The policy's name: lower-case letters, digits, hyphens.
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    /// The folder that its folder is made in.
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub(crate) parent: PathBuf,
}

/// `sealwright policy build`.
#[derive(Debug, Args)]
#[command(after_help = text::POLICY_BUILD)]
pub(crate) struct BuildArgs {
    /// The policy's folder.
    #[arg(value_name = "DIR", default_value = ".")]
    pub(crate) dir: PathBuf,
    /// Folder that compiled dependencies stay in [default: a folder of the user's cache].
    #[arg(long, value_name = "DIR", env = "SEALWRIGHT_BUILD_DIR")]
    pub(crate) build_dir: Option<PathBuf>,
}

/// `sealwright policy test`.
#[derive(Debug, Args)]
#[command(after_help = text::POLICY_TEST)]
pub(crate) struct TestArgs {
    /// A policy's folder, or a module.
    #[arg(value_name = "DIR|MODULE", default_value = ".")]
    pub(crate) target: PathBuf,
    /// Folder of vectors: .toml or .json, one file each.
    #[arg(long, value_name = "DIR")]
    pub(crate) vectors: Option<PathBuf>,
    /// Settings: .toml or .json.
    #[arg(long, value_name = "FILE")]
    pub(crate) settings: Option<PathBuf>,
    /// Run again whenever a file changes.
    #[arg(long)]
    pub(crate) watch: bool,
    #[command(flatten)]
    pub(crate) limits: LimitArgs,
    /// Folder that compiled dependencies stay in [default: a folder of the user's cache].
    #[arg(long, value_name = "DIR", env = "SEALWRIGHT_BUILD_DIR")]
    pub(crate) build_dir: Option<PathBuf>,
}

/// Limits that differ from production's defaults.
#[derive(Debug, Args)]
pub(crate) struct LimitArgs {
    /// Fuel of one decision, as `fuel` in the configuration.
    #[arg(long, value_name = "N")]
    pub(crate) fuel: Option<u64>,
    /// Linear memory of one instance.
    #[arg(long, value_name = "BYTES")]
    pub(crate) memory_bytes: Option<u64>,
}

impl LimitArgs {
    pub(crate) fn limits(&self) -> Limits {
        let defaults = Limits::default();
        Limits {
            fuel: self.fuel.unwrap_or(defaults.fuel),
            memory_bytes: self.memory_bytes.unwrap_or(defaults.memory_bytes),
            ..defaults
        }
    }
}

/// `sealwright policy verify-source`.
#[derive(Debug, Args)]
#[command(after_help = text::POLICY_VERIFY)]
pub(crate) struct VerifySourceArgs {
    /// The module.
    #[arg(value_name = "MODULE")]
    pub(crate) module: PathBuf,
    /// The archive that `policy build` wrote, or the policy's folder.
    #[arg(value_name = "SOURCE")]
    pub(crate) source: PathBuf,
    /// Folder that compiled dependencies stay in [default: a folder of the user's cache].
    #[arg(long, value_name = "DIR", env = "SEALWRIGHT_BUILD_DIR")]
    pub(crate) build_dir: Option<PathBuf>,
}

/// `sealwright policy admit`.
#[derive(Debug, Args)]
pub(crate) struct AdmitArgs {
    /// The module.
    #[arg(value_name = "MODULE", required_unless_present = "confined")]
    pub(crate) module: Option<PathBuf>,
    /// Folder of the author's vectors.
    #[arg(long, value_name = "DIR")]
    pub(crate) vectors: Option<PathBuf>,
    /// Settings: .toml or .json.
    #[arg(long, value_name = "FILE")]
    pub(crate) settings: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) limits: LimitArgs,
    /// Read the job from standard input, with nothing else in reach.
    #[arg(long, hide = true, conflicts_with_all = ["module", "vectors", "settings"])]
    pub(crate) confined: bool,
    /// Standard input is the socket that this supervisor made.
    #[arg(long, hide = true, value_name = "PID", requires = "confined")]
    pub(crate) supervisor: Option<u32>,
}

/// `sealwright policy describe`.
#[derive(Debug, Args)]
pub(crate) struct DescribeArgs {
    /// The component.
    #[arg(value_name = "MODULE")]
    pub(crate) module: PathBuf,
}
