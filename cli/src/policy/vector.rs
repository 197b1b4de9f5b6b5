//! `policy vector`: a recorded request as a test vector.

use std::{fs::File, io::Write as _, process::ExitCode};

use prost::Message as _;
use sealwright_ledger::{Body, Selector};
use sealwright_policy_wasm::{Allowed, Denied, Expect, PolicyInput, Vector};
use sealwright_proto::gate::{Evidence, PolicyVerdict};

use crate::{
    args::VectorArgs,
    failure::{Class, Failure, OrFail},
    log, output,
};

pub(super) fn run(args: &VectorArgs) -> Result<ExitCode, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .or_fail(Class::Internal)?;
    let selector = Selector::Serial(args.serial.clone());
    let record = runtime.block_on(async {
        let reader = log::open(&args.place).await?;
        reader.record(&selector).await.map_err(log::failure)
    })?;
    let Body::Decision(decision) = &record.body else {
        return Err(Failure::text(Class::Input, "the serial is not of a decision"));
    };
    let evidence = Evidence::decode(decision.evidence.as_slice())
        .or_fail_doing(Class::Input, "the record has no evidence that can be read")?;
    let decided = evidence.decision.unwrap_or_default();
    let input = PolicyInput::from_canonical(&decided.input)
        .or_fail_doing(Class::Input, "the record has no input that can be read")?;
    let verdict = choose(&decided.policies, args.policy.as_deref())?;
    let description = format!(
        "recorded as entry {}, policy {}",
        record.entry.sequence, verdict.name
    );
    let vector = Vector::whole(&description, &input, &expect(verdict)?);
    let text = serde_json::to_string_pretty(&vector).or_fail(Class::Internal)?;
    match &args.out {
        None => output::line(&text)?,
        Some(path) => {
            let failed = || format!("cannot write {}", path.display());
            let mut file = File::create_new(path).or_fail_doing(Class::Usage, failed())?;
            writeln!(file, "{text}").or_fail_doing(Class::Internal, failed())?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn choose<'a>(verdicts: &'a [PolicyVerdict], name: Option<&str>) -> Result<&'a PolicyVerdict, Failure> {
    let names = || {
        let names: Vec<_> = verdicts.iter().map(|verdict| verdict.name.as_str()).collect();
        names.join(", ")
    };
    match (name, verdicts) {
        (_, []) => Err(Failure::text(Class::Input, "no policy was asked for it")),
        (None, [only]) => Ok(only),
        (None, _) => Err(Failure::text(
            Class::Usage,
            format!("several policies were asked; name one with --policy: {}", names()),
        )),
        (Some(name), _) => verdicts
            .iter()
            .find(|verdict| verdict.name == name)
            .ok_or_else(|| Failure::text(Class::Usage, format!("{name} was not asked, but: {}", names()))),
    }
}

fn expect(verdict: &PolicyVerdict) -> Result<Expect, Failure> {
    let unreadable = || Failure::text(Class::Input, "the verdict cannot be read");
    if let Some(denial) = &verdict.denial {
        return Ok(Expect::Deny(Denied {
            code: denial.code.clone(),
            field: (!denial.field.is_empty()).then(|| denial.field.clone()),
        }));
    }
    let narrowing = verdict.narrowing.clone().ok_or_else(unreadable)?;
    let usages = narrowing.usages.map(|usages| {
        let usages = usages.items.iter().map(|usage| usage.parse());
        usages.collect::<Result<_, _>>().map_err(|_| unreadable())
    });
    Ok(Expect::Allow(Allowed {
        lifetime_seconds: narrowing.lifetime_seconds,
        names: narrowing.names.map(|names| names.items),
        usages: usages.transpose()?,
    }))
}
