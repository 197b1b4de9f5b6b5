//! The arguments of `sealwright policy` that are about sets: keys, pushing, agreeing, putting in force.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use sealwright_identity::{Digest, HumanDuration, SpiffeId, TrustDomain};
use sealwright_statement::policy::Name;

use super::signing::{Discreet, NewKeyArgs, SigningKey, TokenUse, signing_key};
use crate::text;

#[derive(Debug, Subcommand)]
pub(crate) enum SetCommand {
    /// Make a key that a person signs statements with, in a file or on a token.
    Keygen(Box<NewKeyArgs>),
    /// Write down who may push and approve, and how many must agree.
    Roster(RosterArgs),
    /// Upload a module and push a revision of a policy, signed by its author.
    Push(PushArgs),
    /// Propose a set: the one in force with changes.
    Propose(ProposeArgs),
    /// What a proposed set changes, who signed it, and what its reports say.
    Review(ReviewArgs),
    /// Sign a proposed set, after looking at it on this machine.
    Approve(ApproveSetArgs),
    /// Put an approved set in force.
    Activate(ActivateArgs),
    /// Bring back the set of an earlier number: proposed, signed, and put in force when enough agree.
    Rollback(RollbackArgs),
    /// Take a revision away for ever.
    Revoke(RevokeArgs),
    /// Run a revision in shadow at this signer alone, for a while: it decides nothing and needs no quorum.
    Shadow(ShadowArgs),
    /// What runs so at this signer, and how often it differed from what was decided.
    Shadows(ShadowsArgs),
    /// What is in force, what is proposed, and what is known.
    Status(StatusArgs),
    /// Print the set in force, and each one after it.
    Watch(WatchArgs),
    /// Run policies on a request, on this machine or by the signer: each one's verdict, fuel and log lines.
    Explain(ExplainArgs),
}

/// The signer, and who calls.
#[derive(Debug, Args)]
pub(crate) struct SignerArgs {
    /// The signer.
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) server: String,
    /// PEM roots that the signer's own certificate is verified with.
    #[arg(long, value_name = "FILE")]
    pub(crate) ca_file: PathBuf,
    /// PEM chain of the caller, whose identity has roles in `[[policy_roles]]`.
    #[arg(long, value_name = "FILE")]
    pub(crate) cert: PathBuf,
    /// PEM key of `--cert`.
    #[arg(long, value_name = "FILE")]
    pub(crate) key: PathBuf,
}

/// `sealwright policy roster`.
#[derive(Debug, Args)]
#[command(after_help = text::POLICY_ROSTER)]
pub(crate) struct RosterArgs {
    /// How many approvers must agree.
    #[arg(long, value_name = "K")]
    pub(crate) threshold: u64,
    /// Somebody who may push, with a public key; may be given several times.
    #[arg(long, value_name = "NAME=FILE")]
    pub(crate) author: Vec<String>,
    /// Somebody who may approve, with a public key; may be given several times.
    #[arg(long, value_name = "NAME=FILE")]
    pub(crate) approver: Vec<String>,
    /// The roster that it follows.
    #[arg(long, value_name = "FILE")]
    pub(crate) after: Option<PathBuf>,
    /// The file to write.
    #[arg(long, value_name = "FILE")]
    pub(crate) out: PathBuf,
}

/// `sealwright policy push`.
#[derive(Debug, Args)]
#[command(after_help = text::POLICY_PUSH)]
pub(crate) struct PushArgs {
    #[command(flatten)]
    pub(crate) signer: SignerArgs,
    /// The component.
    #[arg(value_name = "MODULE")]
    pub(crate) module: PathBuf,
    /// The policy's name: revisions of one name replace each other.
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Name,
    /// A file with the settings: .toml or .json.
    #[arg(long, value_name = "FILE")]
    pub(crate) settings: Option<PathBuf>,
    /// The trust domain that it speaks for.
    #[arg(long, value_name = "TRUST-DOMAIN")]
    pub(crate) trust_domain: TrustDomain,
    /// Issuers that it speaks for; all without any.
    #[arg(long, value_name = "ISSUER")]
    pub(crate) issuer: Vec<String>,
    /// Namespaces that it speaks for; all without any.
    #[arg(long, value_name = "NAMESPACE")]
    pub(crate) namespace: Vec<String>,
    /// Service accounts that it speaks for; all without any.
    #[arg(long, value_name = "NAMESPACE/NAME")]
    pub(crate) service_account: Vec<String>,
    /// Fuel for one decision.
    #[arg(long, value_name = "UNITS", default_value_t = 10_000_000)]
    pub(crate) fuel: u64,
    /// Memory for one decision, in bytes; 0 is the host's limit.
    #[arg(long, value_name = "BYTES", default_value_t = 0)]
    pub(crate) memory: u64,
    /// The sorted archive of the source that the module is built from.
    #[arg(long, value_name = "FILE")]
    pub(crate) source: Option<PathBuf>,
    /// A report of its admission, instead of one that is made here. Approvers make their own, and sign
    /// nothing where it differs.
    #[arg(long, value_name = "FILE")]
    pub(crate) report: Option<PathBuf>,
    /// Leave the judgement to the signer alone.
    #[arg(long, conflicts_with = "report")]
    pub(crate) no_report: bool,
    /// The author's key, in a file or on a token; needed where people must agree.
    #[arg(long, value_name = "FILE|pkcs11:…", value_parser = Discreet(signing_key))]
    pub(crate) sign_with: Option<SigningKey>,
    #[command(flatten)]
    pub(crate) tokens: TokenUse,
}

/// `sealwright policy propose`.
#[derive(Debug, Args)]
#[command(after_help = text::POLICY_PROPOSE)]
pub(crate) struct ProposeArgs {
    #[command(flatten)]
    pub(crate) signer: SignerArgs,
    /// A revision that must allow; it takes the place of the one of its name.
    #[arg(long, value_name = "REVISION")]
    pub(crate) enforce: Vec<Digest>,
    /// A revision that only watches.
    #[arg(long, value_name = "REVISION")]
    pub(crate) shadow: Vec<Digest>,
    /// A revision that decides for a share of the identities in the place of the one of its name.
    #[arg(long, value_name = "REVISION=PERCENT")]
    pub(crate) canary: Vec<String>,
    /// A revision that is taken out.
    #[arg(long, value_name = "REVISION")]
    pub(crate) retire: Vec<Digest>,
    /// The admission report of a revision that is new.
    #[arg(long, value_name = "REVISION=DIGEST")]
    pub(crate) report: Vec<String>,
    /// Canaries of the set stop by themselves: judged once one has decided this often, and from then on.
    #[arg(long, value_name = "DECISIONS")]
    pub(crate) stop_after: Option<u64>,
    /// One stops when more than this percentage of its decisions were denied.
    #[arg(long, value_name = "PERCENT", requires = "stop_after")]
    pub(crate) stop_denied: Option<String>,
    /// One stops when more than this percentage of its decisions were aborted.
    #[arg(long, value_name = "PERCENT", requires = "stop_after")]
    pub(crate) stop_aborted: Option<String>,
    /// Canaries of the set do not stop by themselves. Without any of these, the bounds of the set in force stay.
    #[arg(long, conflicts_with = "stop_after")]
    pub(crate) no_stop: bool,
    /// A roster that takes effect with the set.
    #[arg(long, value_name = "FILE")]
    pub(crate) roster: Option<PathBuf>,
    /// How long it may be activated; at most 30d.
    #[arg(long, value_name = "DURATION", default_value = "7d")]
    pub(crate) valid: HumanDuration,
    /// Propose beside it the rollback to the set that is in force now, to be signed ahead; it may be
    /// activated for so long, at most 7d.
    #[arg(
        long,
        value_name = "DURATION",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "7d",
        conflicts_with = "roster"
    )]
    pub(crate) with_rollback: Option<HumanDuration>,
}

/// `sealwright policy review`.
#[derive(Debug, Args)]
pub(crate) struct ReviewArgs {
    #[command(flatten)]
    pub(crate) signer: SignerArgs,
    /// The proposed set; the only one when left out. A rollback must be named.
    #[arg(value_name = "SET")]
    pub(crate) set: Option<Digest>,
    /// Writes the set to a file, with the signatures that it has.
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
}

/// `sealwright policy approve`.
#[derive(Debug, Args)]
#[command(after_help = text::POLICY_APPROVE)]
pub(crate) struct ApproveSetArgs {
    #[command(flatten)]
    pub(crate) signer: SignerArgs,
    /// The proposed set; the only one when left out. A rollback must be named.
    #[arg(value_name = "SET")]
    pub(crate) set: Option<Digest>,
    /// The approver's key, in a file or on a token.
    #[arg(long, value_name = "FILE|pkcs11:…", value_parser = Discreet(signing_key))]
    pub(crate) sign_with: SigningKey,
    #[command(flatten)]
    pub(crate) tokens: TokenUse,
}

/// `sealwright policy activate`.
#[derive(Debug, Args)]
#[command(after_help = text::POLICY_ACTIVATE)]
pub(crate) struct ActivateArgs {
    #[command(flatten)]
    pub(crate) signer: SignerArgs,
    /// The approved set; the only proposal when left out. A rollback must be named.
    #[arg(value_name = "SET")]
    pub(crate) set: Option<Digest>,
    /// The file of a rollback that was signed ahead.
    #[arg(long, value_name = "FILE", conflicts_with = "set")]
    pub(crate) file: Option<PathBuf>,
}

/// `sealwright policy rollback`.
#[derive(Debug, Args)]
#[command(after_help = text::POLICY_ROLLBACK)]
pub(crate) struct RollbackArgs {
    #[command(flatten)]
    pub(crate) signer: SignerArgs,
    /// The number of the set to bring back.
    #[arg(value_name = "NUMBER")]
    pub(crate) number: u64,
    /// Make it ahead of need: it follows this proposed set, and can be activated only while that one is in force.
    #[arg(long, value_name = "SET")]
    pub(crate) ahead: Option<Digest>,
    /// Keys of approvers who agree, in files or on tokens.
    #[arg(long, value_name = "FILE|pkcs11:…", required_unless_present = "ahead", value_parser = Discreet(signing_key))]
    pub(crate) sign_with: Vec<SigningKey>,
    /// How long it may be activated; at most 7d. Without it 1h, and 7d with `--ahead`.
    #[arg(long, value_name = "DURATION")]
    pub(crate) valid: Option<HumanDuration>,
    #[command(flatten)]
    pub(crate) tokens: TokenUse,
}

/// `sealwright policy revoke`.
#[derive(Debug, Args)]
#[command(after_help = text::POLICY_REVOKE)]
pub(crate) struct RevokeArgs {
    #[command(flatten)]
    pub(crate) signer: SignerArgs,
    /// The revision.
    #[arg(value_name = "REVISION")]
    pub(crate) revision: Digest,
    /// Why, for whoever reads the ledger. Others who agree give the same.
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: String,
    /// Keys of approvers who agree, in files or on tokens.
    #[arg(long, value_name = "FILE|pkcs11:…", required = true, value_parser = Discreet(signing_key))]
    pub(crate) sign_with: Vec<SigningKey>,
    #[command(flatten)]
    pub(crate) tokens: TokenUse,
}

/// `sealwright policy shadow`.
#[derive(Debug, Args)]
#[command(after_help = text::POLICY_SHADOW)]
pub(crate) struct ShadowArgs {
    #[command(flatten)]
    pub(crate) signer: SignerArgs,
    /// A revision that was pushed.
    #[arg(value_name = "REVISION")]
    pub(crate) revision: Digest,
    /// How long; at most 24h. Given again, the time begins anew.
    #[arg(long = "for", value_name = "DURATION", default_value = "1h")]
    pub(crate) duration: HumanDuration,
    /// End it now.
    #[arg(long, conflicts_with = "duration")]
    pub(crate) stop: bool,
}

/// `sealwright policy shadows`.
#[derive(Debug, Args)]
#[command(after_help = text::POLICY_SHADOWS)]
pub(crate) struct ShadowsArgs {
    #[command(flatten)]
    pub(crate) signer: SignerArgs,
}

/// `sealwright policy status`.
#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    #[command(flatten)]
    pub(crate) signer: SignerArgs,
    /// Writes the roster in force to a file, for `policy roster --after`.
    #[arg(long, value_name = "FILE")]
    pub(crate) roster_out: Option<PathBuf>,
}

/// `sealwright policy explain`.
#[derive(Debug, Args)]
#[command(after_help = text::POLICY_EXPLAIN)]
pub(crate) struct ExplainArgs {
    /// The request, PKCS#10 in PEM or DER. That it signs itself is verified, here and by the signer.
    #[arg(long, value_name = "FILE")]
    pub(crate) csr: PathBuf,
    /// Who asks. Nobody authenticates it.
    #[arg(long, value_name = "SPIFFE-ID")]
    pub(crate) identity: SpiffeId,
    /// The issuer's name.
    #[arg(long, value_name = "NAME", default_value = "default")]
    pub(crate) issuer: String,
    /// The lifetime that is asked for; the ceiling's default without it.
    #[arg(long, value_name = "DURATION")]
    pub(crate) ttl: Option<HumanDuration>,
    /// The configuration that has the issuer's ceiling; the default ceiling without it.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// A component that is asked, as if it were enforced; in this order, may be given several times.
    #[arg(
        long,
        value_name = "FILE",
        required_unless_present = "server",
        conflicts_with = "server"
    )]
    pub(crate) module: Vec<PathBuf>,
    /// The settings of each `--module`, .toml or .json files in the same order.
    #[arg(long, value_name = "FILE", requires = "module")]
    pub(crate) settings: Vec<PathBuf>,
    /// A signer whose set is run, here unless `--on-server` is given.
    #[arg(long, value_name = "HOST:PORT", requires_all = ["ca_file", "cert", "key"])]
    pub(crate) server: Option<String>,
    /// PEM roots that the signer's own certificate is verified with.
    #[arg(long, value_name = "FILE")]
    pub(crate) ca_file: Option<PathBuf>,
    /// PEM chain of the caller.
    #[arg(long, value_name = "FILE")]
    pub(crate) cert: Option<PathBuf>,
    /// PEM key of `--cert`.
    #[arg(long, value_name = "FILE")]
    pub(crate) key: Option<PathBuf>,
    /// A proposed set of that signer; the one in force without it.
    #[arg(long, value_name = "SET", requires = "server")]
    pub(crate) set: Option<Digest>,
    /// Have the signer run it, in the engine that decides and with its own ceiling of the issuer.
    #[arg(long, requires = "server", conflicts_with_all = ["config", "module"])]
    pub(crate) on_server: bool,
}

/// `sealwright policy watch`.
#[derive(Debug, Args)]
pub(crate) struct WatchArgs {
    #[command(flatten)]
    pub(crate) signer: SignerArgs,
}
