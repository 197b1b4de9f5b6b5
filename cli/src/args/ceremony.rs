//! The arguments of `sealwright ceremony`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use sealwright_ceremony::{PATIENCE, Role};
use sealwright_identity::{Digest, HumanDuration};
use sealwright_statement::policy::Name;

use super::signing::{Discreet, NewKeyArgs, PinArg, SigningKey, TokenUse, pin, signing_key};
use crate::text;

/// `sealwright ceremony`.
#[derive(Debug, Args)]
#[command(after_help = text::CEREMONY)]
pub(crate) struct CeremonyArgs {
    #[command(subcommand)]
    pub(crate) command: CeremonyCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum CeremonyCommand {
    /// Read a plan: lint it, name it, show it.
    #[command(subcommand)]
    Plan(PlanCommand),
    /// Name a roster: its digest, in hex and in words.
    Roster(FileArgs),
    /// Make a key that a person signs statements with, in a file or on a token.
    NewKey(Box<NewKeyArgs>),
    /// Write a first roster, from people's public keys.
    NewRoster(NewRosterArgs),
    /// Write a plan to begin with: a root, an issuing CA and its health key. Read it, and change it.
    NewPlan(NewPlanArgs),
    /// Agree to a plan, in a role.
    Approve(ApproveArgs),
    /// Do what a plan says, on its tokens.
    Run(Box<RunArgs>),
    /// Sign the end of a transcript.
    Sign(SignArgs),
    /// The plan as a script to print, Markdown or PDF, with blanks.
    Script(ScriptArgs),
    /// What a plan takes: keys, signatures, questions, minutes.
    Estimate(FileArgs),
    /// A rehearsal beside the ceremony that it was for: only what the plan declares may differ.
    Compare(CompareArgs),
    /// Every object of a token, and the transcript that explains it.
    Inventory(InventoryArgs),
    /// Write down what somebody in the room has to say, between two starts of `run`.
    Note(NoteArgs),
    /// A transcript as a page to read; only one that verifies.
    Report(ReportArgs),
    /// What a machine without a network needs, as one archive.
    Bundle(BundleArgs),
    /// Verify a transcript, with nothing but the transcript.
    Verify(TranscriptArgs),
}

#[derive(Debug, Subcommand)]
pub(crate) enum PlanCommand {
    /// Whether the plan makes sense, and what its readers should think about.
    Lint(FileArgs),
    /// The plan's digest, in hex and in words.
    Digest(FileArgs),
    /// The plan with every default written out.
    Show(FileArgs),
    /// Where two plans differ.
    Diff(DiffArgs),
}

/// `sealwright ceremony new-roster`.
#[derive(Debug, Args)]
#[command(after_help = text::NEW_ROSTER)]
pub(crate) struct NewRosterArgs {
    /// How many operators must agree.
    #[arg(long, value_name = "M")]
    pub(crate) threshold: u64,
    /// Somebody who agrees, types PINs and signs, with a public key.
    #[arg(long, value_name = "NAME=FILE", required = true)]
    pub(crate) operator: Vec<String>,
    /// Somebody who compares what is read aloud.
    #[arg(long, value_name = "NAME=FILE")]
    pub(crate) witness: Vec<String>,
    /// Somebody who reads the plan before and the transcript afterwards.
    #[arg(long, value_name = "NAME=FILE")]
    pub(crate) auditor: Vec<String>,
    /// The new file.
    #[arg(long, value_name = "FILE")]
    pub(crate) out: PathBuf,
}

/// `sealwright ceremony new-plan`.
#[derive(Debug, Args)]
#[command(after_help = text::NEW_PLAN)]
pub(crate) struct NewPlanArgs {
    /// Whose CA it is.
    #[arg(long, value_name = "NAME")]
    pub(crate) organization: String,
    /// The roster of the people.
    #[arg(long, value_name = "FILE")]
    pub(crate) roster: PathBuf,
    /// The PKCS#11 module.
    #[arg(long, value_name = "FILE")]
    pub(crate) module: PathBuf,
    /// For practice.
    #[arg(long)]
    pub(crate) rehearsal: bool,
    /// The new file.
    #[arg(long, value_name = "FILE")]
    pub(crate) out: PathBuf,
}

/// Two files.
#[derive(Debug, Args)]
pub(crate) struct DiffArgs {
    /// The first.
    #[arg(value_name = "FILE")]
    pub(crate) first: PathBuf,
    /// The second.
    #[arg(value_name = "FILE")]
    pub(crate) second: PathBuf,
}

/// `sealwright ceremony compare`.
#[derive(Debug, Args)]
pub(crate) struct CompareArgs {
    /// The transcript of the rehearsal.
    #[arg(value_name = "DIR")]
    pub(crate) rehearsal: PathBuf,
    /// The transcript of the ceremony in earnest.
    #[arg(value_name = "DIR")]
    pub(crate) production: PathBuf,
}

/// `sealwright ceremony inventory`.
#[derive(Debug, Args)]
pub(crate) struct InventoryArgs {
    /// The PKCS#11 module.
    #[arg(long, value_name = "FILE")]
    pub(crate) module: PathBuf,
    /// The token's serial number.
    #[arg(long, value_name = "SERIAL")]
    pub(crate) serial: String,
    /// Where the user PIN comes from [default: a prompt].
    #[arg(long, value_name = "TOKEN=file:PATH|fd:N", value_parser = Discreet(pin))]
    pub(crate) pin: Option<PinArg>,
    /// The folder of the memory of refused PINs.
    #[arg(long, value_name = "DIR")]
    pub(crate) state: PathBuf,
    /// The transcripts of the ceremonies on this token.
    #[arg(long, value_name = "DIR")]
    pub(crate) transcript: Vec<PathBuf>,
}

/// One file.
#[derive(Debug, Args)]
pub(crate) struct FileArgs {
    /// The file.
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
}

/// The plan and the roster.
#[derive(Debug, Args)]
pub(crate) struct Input {
    /// The plan's file.
    #[arg(long, value_name = "FILE")]
    pub(crate) plan: PathBuf,
    /// The roster's file.
    #[arg(long, value_name = "FILE")]
    pub(crate) roster: PathBuf,
}

/// `sealwright ceremony script`.
#[derive(Debug, Args)]
#[command(after_help = text::CEREMONY_SCRIPT)]
pub(crate) struct ScriptArgs {
    #[command(flatten)]
    pub(crate) input: Input,
    /// A new file for it as a PDF (A4), instead of Markdown on standard output.
    #[arg(long, value_name = "FILE")]
    pub(crate) pdf: Option<PathBuf>,
}

/// `sealwright ceremony approve`.
#[derive(Debug, Args)]
pub(crate) struct ApproveArgs {
    #[command(flatten)]
    pub(crate) input: Input,
    /// As what: operator, witness or auditor.
    #[arg(long, value_name = "ROLE", value_parser = role)]
    pub(crate) role: Role,
    /// The key of the person who agrees, in a file or on a token.
    #[arg(long, alias = "key", value_name = "FILE|pkcs11:…", value_parser = Discreet(signing_key))]
    pub(crate) sign_with: SigningKey,
    /// Where the approval goes; one of the same role that is there gets another signature.
    #[arg(long, value_name = "FILE")]
    pub(crate) out: PathBuf,
    /// Do not ask for words; for rehearsals only.
    #[arg(long)]
    pub(crate) yes: bool,
    #[command(flatten)]
    pub(crate) tokens: TokenUse,
}

/// `sealwright ceremony run`.
#[derive(Debug, Args)]
#[command(after_help = text::CEREMONY_RUN)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    pub(crate) input: Input,
    /// A file of `ceremony approve`; one for each.
    #[arg(long, value_name = "FILE")]
    pub(crate) approval: Vec<PathBuf>,
    /// The transcript before, where the plan names one.
    #[arg(long, value_name = "DIR")]
    pub(crate) previous: Option<PathBuf>,
    /// The folder of the transcript, new or empty.
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
    /// The folder of what is not public: the memory of refused PINs [default: OUT.state].
    #[arg(long, value_name = "DIR")]
    pub(crate) state: Option<PathBuf>,
    /// Where a token's user PIN comes from, for each part [default: a prompt].
    #[arg(long, value_name = "TOKEN=file:PATH|fd:N", value_parser = Discreet(pin))]
    pub(crate) pin: Vec<PinArg>,
    /// Where the PIN of a token's security officer comes from, for each part [default: a prompt].
    #[arg(long, value_name = "TOKEN=file:PATH|fd:N", value_parser = Discreet(pin))]
    pub(crate) so_pin: Vec<PinArg>,
    /// How long people may take for what they do at a token, such as typing a PIN at its pad: an hour at most.
    #[arg(long, value_name = "DURATION", default_value_t = PATIENCE, value_parser = patience)]
    pub(crate) people_deadline: HumanDuration,
    /// A key, in a file or on a token, that signs the end of the transcript at once; more sign with `ceremony sign`.
    #[arg(long, value_name = "FILE|pkcs11:…", value_parser = Discreet(signing_key))]
    pub(crate) sign_with: Vec<SigningKey>,
    /// The PKCS#11 module of people's keys on tokens; loaded when the ceremony is over. Their PINs come by --pin, by
    /// the token's label.
    #[arg(long, value_name = "FILE", env = "SEALWRIGHT_PKCS11_MODULE")]
    pub(crate) pkcs11_module: Option<PathBuf>,
    /// How long a token with a person's key may take for an answer.
    #[arg(long, value_name = "DURATION", default_value = "30s")]
    pub(crate) token_deadline: HumanDuration,
    /// Go on with the transcript in OUT.
    #[arg(long)]
    pub(crate) resume: bool,
    /// A transcript that an inventory of the plan names; one for each.
    #[arg(long, value_name = "DIR")]
    pub(crate) transcript: Vec<PathBuf>,
    /// With --resume: destroy first what a crash left of the key pair of this step, after asking.
    #[arg(long, value_name = "STEP", requires = "resume", conflicts_with = "declare")]
    pub(crate) destroy: Option<Name>,
    /// Give the ceremony up: nothing more is made, and it is signed as what it is.
    #[arg(long, value_enum, value_name = "OUTCOME", requires_all = ["reason", "resume"])]
    pub(crate) declare: Option<Declare>,
    /// Why it is given up.
    #[arg(long, value_name = "TEXT", requires = "declare")]
    pub(crate) reason: Option<String>,
    /// With --declare: the tokens cannot be told; they refuse every other ceremony from now on.
    #[arg(long, requires = "declare")]
    pub(crate) tokens_unreachable: bool,
    /// Do not ask; for rehearsals only.
    #[arg(long)]
    pub(crate) yes: bool,
    /// Abort before the event of this number is written; for tests of rehearsals.
    #[arg(long, hide = true, value_name = "N")]
    pub(crate) crash_before: Option<u64>,
    /// Abort when half of it is written.
    #[arg(long, hide = true, value_name = "N")]
    pub(crate) crash_within: Option<u64>,
    /// Abort when it is written.
    #[arg(long, hide = true, value_name = "N")]
    pub(crate) crash_after: Option<u64>,
}

/// `sealwright ceremony verify`.
#[derive(Debug, Args)]
pub(crate) struct TranscriptArgs {
    /// The transcript's folder.
    #[arg(value_name = "DIR")]
    pub(crate) transcript: PathBuf,
    /// The roster's digest, as you know it from elsewhere.
    #[arg(long, value_name = "DIGEST")]
    pub(crate) roster: Option<Digest>,
    /// A transcript that an inventory names: what it explains is held against it again; one for each.
    #[arg(long = "transcript", value_name = "DIR")]
    pub(crate) earlier: Vec<PathBuf>,
}

/// `sealwright ceremony report`.
#[derive(Debug, Args)]
#[command(after_help = text::CEREMONY_REPORT)]
pub(crate) struct ReportArgs {
    /// The transcript's folder.
    #[arg(value_name = "DIR")]
    pub(crate) transcript: PathBuf,
    /// A new file for one HTML page that needs nothing else.
    #[arg(long, value_name = "FILE", required_unless_present = "pdf")]
    pub(crate) html: Option<PathBuf>,
    /// A new file for the same as a PDF (A4, its fonts inside).
    #[arg(long, value_name = "FILE")]
    pub(crate) pdf: Option<PathBuf>,
}

/// `sealwright ceremony bundle`.
#[derive(Debug, Args)]
pub(crate) struct BundleArgs {
    /// A new file for the archive (tar).
    #[arg(long, value_name = "FILE")]
    pub(crate) out: PathBuf,
    /// A file that goes along, such as a plan or a roster; one for each.
    #[arg(long, value_name = "FILE")]
    pub(crate) add: Vec<PathBuf>,
}

/// How a ceremony ends that is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Declare {
    Aborted,
    Failed,
}

/// `sealwright ceremony note`.
#[derive(Debug, Args)]
pub(crate) struct NoteArgs {
    /// The transcript's folder.
    #[arg(value_name = "DIR")]
    pub(crate) transcript: PathBuf,
    /// What it is about.
    #[arg(long, value_enum, value_name = "SUBJECT", default_value = "remark")]
    pub(crate) about: About,
    /// In words.
    #[arg(long, value_name = "TEXT")]
    pub(crate) text: String,
    /// A file that is kept elsewhere, such as a photograph: its digest is written down.
    #[arg(long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
}

/// Subjects of notes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum About {
    Exception,
    Photograph,
    Enters,
    Leaves,
    Remark,
}

/// `sealwright ceremony sign`.
#[derive(Debug, Args)]
pub(crate) struct SignArgs {
    /// The transcript's folder.
    #[arg(value_name = "DIR")]
    pub(crate) transcript: PathBuf,
    /// The key of somebody of the roster, in a file or on a token.
    #[arg(long, alias = "key", value_name = "FILE|pkcs11:…", value_parser = Discreet(signing_key))]
    pub(crate) sign_with: SigningKey,
    /// Do not ask for words; for rehearsals only.
    #[arg(long)]
    pub(crate) yes: bool,
    #[command(flatten)]
    pub(crate) tokens: TokenUse,
}

fn patience(text: &str) -> Result<HumanDuration, String> {
    let limit: HumanDuration = text.parse().map_err(|error| format!("{error}"))?;
    if limit > HumanDuration::from_secs(3600) {
        return Err("people are waited for at most an hour: 1h".to_owned());
    }
    Ok(limit)
}

fn role(text: &str) -> Result<Role, String> {
    [Role::Operator, Role::Witness, Role::Auditor]
        .into_iter()
        .find(|role| role.as_str() == text)
        .ok_or_else(|| "it is operator, witness or auditor".to_owned())
}
