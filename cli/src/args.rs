//! The command line.

mod bench;
mod ceremony;
mod policy;
mod policy_sets;
mod prune;
mod signing;

use std::{net::SocketAddr, path::PathBuf};

use clap::{Args, Parser, Subcommand, ValueEnum};
use sealwright_identity::{HumanDuration, KeyType, SerialNumber, SignedDuration};

pub(crate) use self::{
    bench::BenchArgs,
    ceremony::{
        About, ApproveArgs, BundleArgs, CeremonyArgs, CeremonyCommand, CompareArgs, Declare, Input,
        InventoryArgs, NewPlanArgs, NewRosterArgs, NoteArgs, PlanCommand, ReportArgs, RunArgs, ScriptArgs,
        SignArgs, TranscriptArgs,
    },
    policy::{
        AdmitArgs, BuildArgs, DescribeArgs, NewArgs, PolicyArgs, PolicyCommand, ReplayArgs, TestArgs,
        VectorArgs, VerifySourceArgs,
    },
    policy_sets::{
        ActivateArgs, ApproveSetArgs, ExplainArgs, ProposeArgs, PushArgs, ReviewArgs, RevokeArgs,
        RollbackArgs, RosterArgs, SetCommand, ShadowArgs, ShadowsArgs, SignerArgs, StatusArgs, WatchArgs,
    },
    prune::PruneArgs,
    signing::{KeyKindArg, NewKeyArgs, PinArg, SigningKey, TokenUse},
};
use crate::{output::Output, text};

/// A workload-identity certificate authority: keys in an HSM, decisions by WebAssembly policies.
#[derive(Debug, Parser)]
#[command(name = "sealwright", version, after_help = text::MAIN, disable_help_subcommand = true)]
pub(crate) struct Cli {
    /// Form of the data on standard output; by default a table on a terminal, JSON else.
    #[arg(long, global = true, value_enum, value_name = "FORM")]
    pub(crate) output: Option<Output>,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a signer for development: one command, everything made on the first start.
    Dev(DevArgs),
    /// Make the token and the CA of a development home.
    #[command(hide = true)]
    DevProvision(ProvisionArgs),
    /// Run the signer of a configuration file: a supervisor over a gate and a front.
    Serve(ServeArgs),
    /// The process with the network; started by `serve` and `dev`.
    #[command(hide = true)]
    Front(FrontArgs),
    /// Run the gate alone, behind the named socket of its configuration; or reset a refused PIN.
    Gate(GateArgs),
    /// Test every precondition of a start, with the fix for each that fails.
    #[command(after_help = text::CHECK)]
    Check(At),
    /// Get a certificate from a signer, as a workload does.
    Issue(IssueArgs),
    /// Read the issuance log, whether the signer runs or not.
    Log(LogArgs),
    /// One page from a certificate to what allowed it, and who.
    WhoAllowed(WhoAllowedArgs),
    /// Write, build, test and look at policies.
    Policy(PolicyArgs),
    /// Make a CA's keys and certificates in an HSM from one plan that people agreed to.
    Ceremony(CeremonyArgs),
    /// Measure a signer under load: a running one, or one of its own.
    Bench(BenchArgs),
}

/// A configuration file.
#[derive(Debug, Args)]
pub(crate) struct At {
    /// The configuration file.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: PathBuf,
}

/// `sealwright serve`.
#[derive(Debug, Args)]
#[command(after_help = text::SERVE)]
pub(crate) struct ServeArgs {
    /// The configuration file.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: PathBuf,
    /// Address of the certificate service, over the file's `server.listen`.
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) listen: Option<SocketAddr>,
    /// Address of health, metrics and bundle, over the file's `http.listen`.
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) http: Option<SocketAddr>,
}

/// `sealwright front`.
#[derive(Debug, Args)]
pub(crate) struct FrontArgs {
    #[arg(long)]
    pub(crate) config: PathBuf,
    #[arg(long)]
    pub(crate) supervisor: u32,
    #[arg(long)]
    pub(crate) boundary: String,
    #[arg(long)]
    pub(crate) listen: Option<SocketAddr>,
    #[arg(long)]
    pub(crate) http: Option<SocketAddr>,
}

/// `sealwright gate`.
#[derive(Debug, Args)]
#[command(after_help = text::GATE, args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct GateArgs {
    #[command(subcommand)]
    pub(crate) command: Option<GateCommand>,
    #[command(flatten)]
    pub(crate) start: Option<GateStart>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum GateCommand {
    /// Forget that the token refused the PIN, so that the next start logs in again.
    ResetPin(At),
}

#[derive(Debug, Args)]
pub(crate) struct GateStart {
    /// The configuration file.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: PathBuf,
    /// Process id of the supervisor whose stream is standard input.
    #[arg(long, hide = true)]
    pub(crate) supervisor: Option<u32>,
    /// The environment is [gate.env]'s already.
    #[arg(long, hide = true)]
    pub(crate) prepared: bool,
    /// Print the checks that need the gate's environment, and end.
    #[arg(long, hide = true, conflicts_with = "supervisor")]
    pub(crate) check: bool,
    /// With --check: a signer runs, so no login is made.
    #[arg(long, hide = true, requires = "check")]
    pub(crate) held: bool,
}

/// `sealwright log`.
#[derive(Debug, Args)]
#[command(after_help = text::LOG)]
pub(crate) struct LogArgs {
    #[command(subcommand)]
    pub(crate) command: LogCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum LogCommand {
    /// One line for each request that was decided on, oldest first.
    List(ListArgs),
    /// One record whole, with the evidence of its decision.
    Show(ShowArgs),
    /// Check the whole ledger, or an export of one.
    Verify(VerifyArgs),
    /// Write the ledger as JSON lines that can be verified without it.
    Export(ExportArgs),
    /// Take old entries about requests out of the ledger, once exports hold them.
    Prune(PruneArgs),
}

/// Which ledger.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Where {
    /// A development home, or a gate's home.
    #[arg(long, value_name = "DIR")]
    pub(crate) home: Option<PathBuf>,
    /// The configuration file of a signer.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(after_help = text::LIST)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    pub(crate) place: Where,
    /// Only the decision with this serial, in hex.
    #[arg(long, value_name = "HEX")]
    pub(crate) serial: Option<SerialNumber>,
    /// Only entries with this SPIFFE ID.
    #[arg(long, value_name = "ID")]
    pub(crate) identity: Option<String>,
    /// Only what this policy was asked for: its name, or the digest of its revision, module or settings.
    #[arg(long, value_name = "NAME|DIGEST")]
    pub(crate) policy: Option<String>,
    /// Only what was decided under the policy set of this number.
    #[arg(long, value_name = "N")]
    pub(crate) set: Option<u64>,
    /// Only what was decided under policy sets that this person approved.
    #[arg(long, value_name = "NAME")]
    pub(crate) approver: Option<String>,
    /// Only from this time on (RFC 3339), or since so long ago (24h).
    #[arg(long, value_name = "T")]
    pub(crate) since: Option<String>,
    /// Only before this time, or until so long ago.
    #[arg(long, value_name = "T")]
    pub(crate) until: Option<String>,
    /// The newest so many.
    #[arg(long, value_name = "N")]
    pub(crate) limit: Option<u32>,
}

#[derive(Debug, Args)]
#[command(after_help = text::SHOW)]
pub(crate) struct ShowArgs {
    #[command(flatten)]
    pub(crate) place: Where,
    /// A serial in hex, or the place of the entry in the ledger (#12).
    #[arg(value_name = "SERIAL|#SEQUENCE", required_unless_present = "serial")]
    record: Option<String>,
    /// The serial, as `log list` takes it.
    #[arg(long, value_name = "HEX", conflicts_with = "record")]
    serial: Option<String>,
}

impl ShowArgs {
    /// The serial or place asked for.
    pub(crate) fn record(&self) -> &str {
        self.record
            .as_ref()
            .or(self.serial.as_ref())
            .map_or("", String::as_str)
    }
}

/// `sealwright who-allowed`.
#[derive(Debug, Args)]
#[command(after_help = text::WHO_ALLOWED)]
pub(crate) struct WhoAllowedArgs {
    #[command(flatten)]
    pub(crate) place: Where,
    /// The certificate's serial, in hex.
    #[arg(long, value_name = "HEX")]
    pub(crate) serial: SerialNumber,
}

#[derive(Debug, Args)]
#[command(after_help = text::VERIFY)]
pub(crate) struct VerifyArgs {
    #[command(flatten)]
    pub(crate) place: WhereOrExport,
}

/// Which ledger, or which export of one.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct WhereOrExport {
    /// A development home, or a gate's home.
    #[arg(long, value_name = "DIR")]
    pub(crate) home: Option<PathBuf>,
    /// The configuration file of a signer.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// A file that `log export` wrote.
    #[arg(long, value_name = "FILE")]
    pub(crate) export: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(after_help = text::EXPORT)]
pub(crate) struct ExportArgs {
    #[command(flatten)]
    pub(crate) place: Where,
    /// A new file to write to [default: standard output].
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    /// Only from this time on (RFC 3339), or since so long ago (24h).
    #[arg(long, value_name = "T")]
    pub(crate) since: Option<String>,
    /// Only before this time, or until so long ago.
    #[arg(long, value_name = "T")]
    pub(crate) until: Option<String>,
}

/// `sealwright dev`.
#[derive(Debug, Args)]
#[command(after_help = text::DEV, args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct DevArgs {
    #[command(subcommand)]
    pub(crate) command: Option<DevCommand>,
    #[command(flatten)]
    pub(crate) start: Option<DevStart>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum DevCommand {
    /// Print a service-account token of a development home, one line.
    Token(TokenArgs),
}

#[derive(Debug, Args)]
pub(crate) struct DevStart {
    /// Folder that holds everything; made on the first start.
    #[arg(long, value_name = "DIR")]
    pub(crate) home: PathBuf,
    /// Address of the certificate service; port 0 takes a free one.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:0")]
    pub(crate) listen: SocketAddr,
    /// Address of health, metrics and bundle.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:0")]
    pub(crate) http: SocketAddr,
    /// Kind of the CA's keys [default: p256, or what the home has].
    #[arg(long, value_enum, value_name = "ALGORITHM")]
    pub(crate) algorithm: Option<Algorithm>,
    /// PKCS#11 module that makes the token [default: SoftHSM].
    #[arg(long, value_name = "FILE", env = "SEALWRIGHT_PKCS11_MODULE")]
    pub(crate) pkcs11_module: Option<PathBuf>,
    /// Component of the baseline policy, instead of the one built in.
    #[arg(long, value_name = "FILE", env = "SEALWRIGHT_BASELINE_POLICY")]
    pub(crate) policy: Option<PathBuf>,
    /// Process that this one does not outlive.
    #[arg(long, hide = true)]
    pub(crate) parent: Option<u32>,
}

/// Kinds of CA keys that `dev` makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Algorithm {
    P256,
    P384,
    Rsa3072,
}

impl Algorithm {
    pub(crate) fn key_type(self) -> KeyType {
        match self {
            Self::P256 => KeyType::P256,
            Self::P384 => KeyType::P384,
            Self::Rsa3072 => KeyType::Rsa(3072),
        }
    }

    /// As on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::P256 => "p256",
            Self::P384 => "p384",
            Self::Rsa3072 => "rsa3072",
        }
    }
}

/// `sealwright dev token`.
#[derive(Debug, Args)]
#[command(after_help = text::TOKEN)]
pub(crate) struct TokenArgs {
    /// A home that was started once.
    #[arg(long, value_name = "DIR")]
    pub(crate) home: PathBuf,
    /// Kubernetes namespace of the workload.
    #[arg(long, value_name = "NS")]
    pub(crate) namespace: String,
    /// Kubernetes service account of the workload.
    #[arg(long, value_name = "SA")]
    pub(crate) service_account: String,
    /// Whom the token is for.
    #[arg(long, value_name = "NAME", default_value = "istio-ca")]
    pub(crate) audience: String,
    /// How long it is valid; negative: it has expired that long ago.
    #[arg(
        long,
        value_name = "DURATION",
        default_value = "1h",
        allow_hyphen_values = true
    )]
    pub(crate) ttl: SignedDuration,
}

/// `sealwright dev-provision`.
#[derive(Debug, Args)]
pub(crate) struct ProvisionArgs {
    /// Folder in the making, with the PINs in it.
    #[arg(long)]
    pub(crate) home: PathBuf,
    #[arg(long)]
    pub(crate) module: PathBuf,
    #[arg(long)]
    pub(crate) label: String,
    #[arg(long, value_enum)]
    pub(crate) algorithm: Algorithm,
}

/// `sealwright issue`.
#[derive(Debug, Args)]
#[command(after_help = text::ISSUE)]
pub(crate) struct IssueArgs {
    /// The signer.
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) server: String,
    /// PEM roots that the signer's own certificate is verified with.
    #[arg(long, value_name = "FILE")]
    pub(crate) ca_file: PathBuf,
    /// File of the service-account token; read at each run.
    #[arg(long, value_name = "FILE", required_unless_present = "cert", conflicts_with_all = ["cert", "key"])]
    pub(crate) token_file: Option<PathBuf>,
    /// PEM chain to renew with, leaf first.
    #[arg(long, value_name = "FILE", requires = "key")]
    pub(crate) cert: Option<PathBuf>,
    /// PEM key of `--cert`.
    #[arg(long, value_name = "FILE", requires = "cert")]
    pub(crate) key: Option<PathBuf>,
    /// Folder to write to.
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
    /// Lifetime to ask for.
    #[arg(long, value_name = "DURATION", default_value = "24h")]
    pub(crate) ttl: HumanDuration,
    /// Kind of the new key.
    #[arg(long, value_enum, value_name = "TYPE", default_value = "p256")]
    pub(crate) key_type: LeafKey,
}

/// Kinds of workload keys that `issue` makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LeafKey {
    P256,
    P384,
    Rsa2048,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn reads_a_negative_lifetime() {
        let line = "sealwright dev token --home h --namespace n --service-account s --ttl -1h";
        let cli = Cli::try_parse_from(line.split(' ')).unwrap();
        let Command::Dev(DevArgs {
            command: Some(DevCommand::Token(token)),
            ..
        }) = cli.command
        else {
            panic!("not a token");
        };
        assert_eq!(token.ttl.seconds(), -3600);
    }

    #[test]
    fn issue_needs_exactly_one_credential() {
        let parse = |rest: &str| {
            let line = format!("sealwright issue --server h:1 --ca-file c --out o {rest}");
            Cli::try_parse_from(line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
        };
        assert!(parse("").is_err());
        assert!(parse("--cert c").is_err());
        assert!(parse("--token-file t --cert c --key k").is_err());
        assert!(parse("--token-file t").is_ok());
        assert!(parse("--cert c --key k").is_ok());
        assert!(parse("--token-file t --ttl 1w").is_err());
    }
}
