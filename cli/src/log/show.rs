//! `log show`: one record whole, with the evidence of its decision.

use std::process::ExitCode;

use sealwright_ledger::{Body, Selector};
use serde_json::Value;

use super::evidence;
use crate::{
    args::ShowArgs,
    failure::{Class, Failure, OrFail},
    output::{self, Output},
};

pub(super) async fn run(args: &ShowArgs, output: Output) -> Result<ExitCode, Failure> {
    let selector: Selector = args
        .record
        .parse()
        .map_err(|error: String| Failure::text(Class::Usage, error))?;
    let reader = super::open(&args.place).await?;
    let record = reader.record(&selector).await.map_err(super::failure)?;
    let mut json = record.to_json();
    if let (Body::Decision(decision), Value::Object(fields)) = (&record.body, &mut json)
        && let Some(readable) = evidence::readable(&decision.evidence)
    {
        fields.insert("evidence".to_owned(), readable);
    }
    match output {
        Output::Json => output::json(&json)?,
        Output::Table => output::line(&serde_json::to_string_pretty(&json).or_fail(Class::Internal)?)?,
    }
    Ok(ExitCode::SUCCESS)
}
