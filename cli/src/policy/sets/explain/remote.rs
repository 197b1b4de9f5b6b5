//! The same by the signer: in the engine that decides, with its own ceiling of the issuer.

use sealwright_identity::HumanDuration;
use sealwright_policy_wasm::{Denial, LogLevel, LogLine, Narrowing};
use sealwright_proto::policy::{
    ExplainRequest, ExplainedPolicy,
    explained_policy::{self, Level, Mode},
};

use super::{ENFORCED, Explained, SHADOW, Said, connect, csr, leaves, wire};
use crate::{
    args::ExplainArgs,
    failure::{Class, Failure, OrFail},
};

pub(super) async fn explain(args: &ExplainArgs) -> Result<Explained, Failure> {
    // clap has seen to it that it is there.
    let missing = || Failure::text(Class::Usage, "--on-server needs --server");
    let server = args.server.as_deref().ok_or_else(missing)?;
    let lifetime = args.ttl.map(HumanDuration::get).map(TryInto::try_into);
    let request = ExplainRequest {
        csr: csr(args)?,
        identity: args.identity.to_string(),
        issuer: args.issuer.clone(),
        lifetime: lifetime.transpose().or_fail(Class::Usage)?,
        set: args.set.map(|set| set.to_string()).unwrap_or_default(),
    };
    let mut client = connect(args, server).await?;
    let explained = client.explain(request).await.map_err(wire::refused)?.into_inner();
    let policies = explained.policies.into_iter().map(said);
    Explained::of(
        Some(explained.number),
        policies.collect::<Result<_, _>>()?,
        explained.input.as_bytes(),
    )
}

fn said(told: ExplainedPolicy) -> Result<Said, Failure> {
    let mode = match told.mode() {
        Mode::Enforced => ENFORCED,
        Mode::Shadow => SHADOW,
    };
    let denial = told.denial.map(|denial| Denial {
        policy: denial.policy,
        code: denial.code,
        message: denial.message,
        field: denial.field,
        hint: denial.hint,
    });
    let left = told.narrowing.map(narrowing).transpose()?;
    Ok(Said {
        policy: told.policy,
        mode,
        revision: Some(told.revision),
        module: told.module,
        verdict: told.verdict,
        fuel: told.fuel,
        denial,
        leaves: left.as_ref().map(leaves),
        log: told.log.into_iter().map(line).collect(),
    })
}

fn narrowing(told: explained_policy::Narrowing) -> Result<Narrowing, Failure> {
    let usages = told.usages.map(|usages| {
        let usages = usages.items.iter().map(|usage| usage.parse());
        usages.collect::<Result<_, _>>()
    });
    Ok(Narrowing {
        lifetime: told.lifetime_seconds.map(std::time::Duration::from_secs),
        names: told.names.map(|names| names.items),
        usages: usages.transpose().or_fail(Class::Input)?,
    })
}

fn line(told: explained_policy::LogLine) -> LogLine {
    LogLine {
        level: match told.level() {
            Level::Debug => LogLevel::Debug,
            Level::Info => LogLevel::Info,
            Level::Warn => LogLevel::Warn,
            Level::Error => LogLevel::Error,
        },
        message: told.message,
    }
}
