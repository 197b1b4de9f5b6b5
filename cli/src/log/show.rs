//! `log show`: one record whole, with the evidence of its decision.

use std::process::ExitCode;

use sealwright_ledger::{Body, Selector};
use serde_json::Value;

use super::{Source, evidence, gate};
use crate::{
    args::ShowArgs,
    failure::{Class, Failure, OrFail},
    output::{self, Output},
};

pub(super) async fn run(args: &ShowArgs, output: Output) -> Result<ExitCode, Failure> {
    let selector: Selector = args
        .record()
        .parse()
        .map_err(|error: String| Failure::text(Class::Usage, error))?;
    let json = match (super::source(&args.place).await?, &selector) {
        (Source::File(reader), _) => {
            let record = reader.record(&selector).await.map_err(super::failure)?;
            with_evidence(record.to_json(), &record.body)
        }
        (Source::Gate(socket), Selector::Serial(serial)) => gate::show(&socket, serial).await?,
        (Source::Gate(_), Selector::Sequence(_)) => {
            return Err(Failure::text(
                Class::Usage,
                "through a gate's socket a record is found by its serial",
            ));
        }
    };
    match output {
        Output::Json => output::json(&json)?,
        Output::Table => output::line(&serde_json::to_string_pretty(&json).or_fail(Class::Internal)?)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// The record with its evidence in words.
fn with_evidence(mut json: Value, body: &Body) -> Value {
    if let (Body::Decision(decision), Value::Object(fields)) = (body, &mut json)
        && let Some(readable) = evidence::readable(&decision.evidence)
    {
        fields.insert("evidence".to_owned(), readable);
    }
    json
}
