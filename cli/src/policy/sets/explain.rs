//! `policy explain`: policies run on a request that nobody made, on this machine or by the signer.

mod remote;

use std::{collections::BTreeSet, fs, path::PathBuf, process::ExitCode};

use sealwright_gate::config::CeilingConfig;
use sealwright_identity::{Ceiling, Clock as _, Digest, HumanDuration, SystemClock};
use sealwright_policy_wasm::{
    Denial, Engine, Evaluation, Limits, LogLine, Narrowing, Policy, PolicyInput, PolicySource, Verdict,
};
use sealwright_proto::policy::{GetRequest, get_response::Part};
use sealwright_signer::{authz::hypothetical, sets::limits};
use sealwright_statement::{
    Signed,
    policy::{Revision, Revisions, Set, enforcing, shadows},
};
use sealwright_x509::csr::{CsrLimits, VerifiedCsr};
use serde::Serialize;

use super::{
    super::{module, vectors},
    propose, wire,
};
use crate::{
    args::{ExplainArgs, SignerArgs},
    failure::{Class, Failure, OrFail},
    output::{self, Output},
    settings,
};

/// Whose verdict counts, and whose does not.
const ENFORCED: &str = "enforced";
const SHADOW: &str = "shadow";
/// As a signer takes them.
const MAX_CSR_BYTES: usize = 16 << 10;
/// No component is larger.
const MAX_BLOB_BYTES: usize = 32 << 20;

/// One policy to run, and what its verdict would do.
struct Asked {
    policy: Policy,
    revision: Option<Digest>,
    mode: &'static str,
}

#[derive(Serialize)]
struct Explained {
    outcome: String,
    set: Option<u64>,
    policies: Vec<Said>,
    input: serde_json::Value,
}

#[derive(Serialize)]
struct Said {
    policy: String,
    mode: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    revision: Option<String>,
    module: String,
    verdict: String,
    fuel: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    denial: Option<Denial>,
    #[serde(skip_serializing_if = "Option::is_none")]
    leaves: Option<String>,
    log: Vec<LogLine>,
}

pub(super) async fn run(args: &ExplainArgs, output: Output) -> Result<ExitCode, Failure> {
    let explained = match args.on_server {
        true => remote::explain(args).await?,
        false => here(args).await?,
    };
    match output {
        Output::Json => output::json(&explained)?,
        Output::Table => explained.print()?,
    }
    Ok(ExitCode::SUCCESS)
}

/// On this machine.
async fn here(args: &ExplainArgs) -> Result<Explained, Failure> {
    let engine = module::engine()?;
    let ceiling = ceiling(args)?;
    let input = input(args, &ceiling)?;
    let (number, asked) = match &args.server {
        Some(server) => of_signer(args, server, &engine).await?,
        None => (None, of_files(args, &engine)?),
    };
    let said = |asked: &Asked| said(asked.policy.evaluate(&input), asked.revision, asked.mode);
    Explained::of(number, asked.iter().map(said).collect(), &input.canonical())
}

fn csr(args: &ExplainArgs) -> Result<Vec<u8>, Failure> {
    fs::read(&args.csr).or_fail_doing(Class::Usage, format!("cannot read {}", args.csr.display()))
}

fn input(args: &ExplainArgs, ceiling: &Ceiling) -> Result<PolicyInput, Failure> {
    let bytes = csr(args)?;
    let limits = CsrLimits {
        max_bytes: MAX_CSR_BYTES,
    };
    let csr = VerifiedCsr::from_pem_or_der(&bytes, &limits)
        .or_fail_doing(Class::Input, format!("{} is no good request", args.csr.display()))?;
    let ttl = args.ttl.map(HumanDuration::get);
    Ok(hypothetical(
        &args.identity,
        &csr,
        (&args.issuer, ceiling),
        ttl,
        SystemClock.now(),
    ))
}

/// The issuer's, by the configuration; else what an issuer has that says nothing.
fn ceiling(args: &ExplainArgs) -> Result<Ceiling, Failure> {
    let Some(file) = &args.config else {
        return Ok(CeilingConfig::default().for_trust_domain(args.identity.trust_domain()));
    };
    let loaded = settings::load(file, &[])?;
    let issuers = &loaded.settings.issuers;
    let issuer = issuers
        .iter()
        .find(|issuer| issuer.name == args.issuer)
        .ok_or_else(|| {
            Failure::text(
                Class::Usage,
                format!(
                    "{} has no issuer {:?}; correct --issuer",
                    file.display(),
                    args.issuer
                ),
            )
        })?;
    Ok(issuer.ceiling.for_trust_domain(&loaded.settings.trust_domain))
}

fn of_files(args: &ExplainArgs, engine: &Engine) -> Result<Vec<Asked>, Failure> {
    let load = |(at, path): (usize, &PathBuf)| {
        let settings = vectors::settings(args.settings.get(at).map(PathBuf::as_path))?;
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        let source = PolicySource {
            name: name.into_owned(),
            component: module::read(path)?,
            settings,
            limits: Limits::default(),
        };
        Ok(Asked {
            policy: Policy::load(engine, source).or_fail_doing(Class::Input, path.display())?,
            revision: None,
            mode: ENFORCED,
        })
    };
    args.module.iter().enumerate().map(load).collect()
}

async fn of_signer(
    args: &ExplainArgs,
    server: &str,
    engine: &Engine,
) -> Result<(Option<u64>, Vec<Asked>), Failure> {
    let mut client = connect(args, server).await?;
    let mut stopped = BTreeSet::new();
    let set: Signed<Set> = match args.set {
        Some(set) => propose::fetch(&mut client, set).await?,
        None => {
            let known = wire::list(&mut client).await?;
            for canary in known.canaries.iter().filter(|canary| canary.stopped_micros != 0) {
                stopped.insert(wire::digest(&canary.revision)?);
            }
            match &*known.active {
                "" => return Err(Failure::text(Class::Input, "no set is in force")),
                active => wire::statement(active)?,
            }
        }
    };
    let effective = set.statement.without(&stopped);
    let mut revisions = Revisions::new();
    for entry in &set.statement.entries {
        let revision: Signed<Revision> = propose::fetch(&mut client, entry.revision).await?;
        revisions.insert(entry.revision, revision.statement);
    }
    let ids = std::slice::from_ref(&args.identity);
    let unknown = || Failure::text(Class::Input, "the set names a revision that is not there");
    let decide = enforcing(&effective, &revisions, &args.issuer, ids).ok_or_else(unknown)?;
    let watch = shadows(&effective, &revisions, &args.issuer, ids).ok_or_else(unknown)?;
    let mut asked = Vec::new();
    for (revision, mode) in decide
        .into_iter()
        .map(|revision| (revision, ENFORCED))
        .chain(watch.into_iter().map(|revision| (revision, SHADOW)))
    {
        let source = PolicySource {
            name: revision.policy.to_string(),
            component: blob(&mut client, revision.module).await?,
            settings: sealwright_policy_wasm::parse_settings(&revision.settings).or_fail(Class::Input)?,
            limits: limits(revision),
        };
        asked.push(Asked {
            policy: Policy::load(engine, source).or_fail_doing(Class::Input, &revision.policy)?,
            revision: Some(revision.digest()),
            mode,
        });
    }
    Ok((Some(set.statement.number), asked))
}

async fn connect(args: &ExplainArgs, server: &str) -> Result<wire::Client, Failure> {
    // clap has seen to it that they are there.
    let missing = || Failure::text(Class::Usage, "--server needs --ca-file, --cert and --key");
    let signer = SignerArgs {
        server: server.to_owned(),
        ca_file: args.ca_file.clone().ok_or_else(missing)?,
        cert: args.cert.clone().ok_or_else(missing)?,
        key: args.key.clone().ok_or_else(missing)?,
    };
    wire::connect(&signer).await
}

pub(super) async fn blob(client: &mut wire::Client, digest: Digest) -> Result<Vec<u8>, Failure> {
    let request = GetRequest {
        digest: digest.to_string(),
    };
    let mut parts = client.get(request).await.map_err(wire::refused)?.into_inner();
    let mut bytes = Vec::new();
    while let Some(answer) = parts.message().await.map_err(wire::refused)? {
        if let Some(Part::Data(data)) = answer.part {
            bytes.extend_from_slice(&data);
        }
        if bytes.len() > MAX_BLOB_BYTES {
            break;
        }
    }
    if Digest::of(&bytes) == digest {
        return Ok(bytes);
    }
    Err(Failure::text(
        Class::Input,
        format!("the signer gave other bytes for {digest}"),
    ))
}

fn said(evaluation: Evaluation, revision: Option<Digest>, mode: &'static str) -> Said {
    Said {
        policy: evaluation.name,
        mode,
        revision: revision.map(|revision| revision.to_string()),
        module: evaluation.module.to_string(),
        verdict: evaluation.verdict.to_string(),
        fuel: evaluation.fuel,
        denial: evaluation.denial,
        leaves: evaluation.narrowing.as_ref().map(leaves),
        log: evaluation.log,
    }
}

/// A narrowing in words.
fn leaves(narrowing: &Narrowing) -> String {
    let mut parts = Vec::new();
    if let Some(lifetime) = narrowing.lifetime {
        parts.push(format!("{} s", lifetime.as_secs()));
    }
    if let Some(names) = &narrowing.names {
        parts.push(names.join(" "));
    }
    if let Some(usages) = &narrowing.usages {
        let usages: Vec<String> = usages.iter().map(ToString::to_string).collect();
        parts.push(usages.join(" "));
    }
    match parts.is_empty() {
        true => "all of the ceiling".to_owned(),
        false => parts.join(", "),
    }
}

impl Explained {
    fn of(set: Option<u64>, policies: Vec<Said>, input: &[u8]) -> Result<Self, Failure> {
        let mut deciding = policies.iter().filter(|said| said.mode == ENFORCED).peekable();
        let outcome = match deciding.peek() {
            None => "deny: no policy is asked".to_owned(),
            Some(_) => deciding
                .find(|said| said.verdict != Verdict::Allow.as_str())
                .map_or_else(|| Verdict::Allow.to_string(), |said| said.verdict.clone()),
        };
        Ok(Self {
            outcome,
            set,
            policies,
            input: serde_json::from_slice(input).or_fail(Class::Input)?,
        })
    }

    fn print(&self) -> Result<(), Failure> {
        let rows = self.policies.iter().map(|said| {
            let why = match (&said.denial, &said.leaves) {
                (Some(denial), _) => {
                    let mut text = format!("{}: {}", denial.code, denial.message);
                    for (name, part) in [("field", &denial.field), ("hint", &denial.hint)] {
                        if let Some(part) = part {
                            text.push_str(&format!("\n{name}: {part}"));
                        }
                    }
                    text
                }
                (None, Some(leaves)) => format!("leaves {leaves}"),
                (None, None) => String::new(),
            };
            let log: Vec<&str> = said.log.iter().map(|line| &*line.message).collect();
            vec![
                said.policy.clone(),
                said.mode.to_owned(),
                said.verdict.clone(),
                said.fuel.to_string(),
                why,
                log.join("\n"),
            ]
        });
        output::table(&["policy", "mode", "verdict", "fuel", "why", "log"], rows)?;
        output::line(&format!("outcome: {}", self.outcome))
    }
}
