//! `policy describe`.

use std::process::ExitCode;

use sealwright_identity::Digest;
use sealwright_policy_wasm::{Description, Policy, WIT_VERSION};
use serde::Serialize;

use super::module;
use crate::{
    args::DescribeArgs,
    failure::{Class, Failure, OrFail},
    output::{self, Output},
};

#[derive(Serialize)]
struct Described<'a> {
    #[serde(flatten)]
    description: &'a Description,
    module: Digest,
    bytes: usize,
    wit: &'static str,
    engine_profile: Digest,
}

pub(super) fn run(args: &DescribeArgs, output: Output) -> Result<ExitCode, Failure> {
    let bytes = module::read(&args.module)?;
    let engine = module::engine()?;
    let (module, size) = (Digest::of(&bytes), bytes.len());
    let description = Policy::describe(&engine, bytes).or_fail_doing(Class::Input, args.module.display())?;
    let described = Described {
        description: &description,
        module,
        bytes: size,
        wit: WIT_VERSION,
        engine_profile: engine.profile().digest,
    };
    match output {
        Output::Json => output::json(&described)?,
        Output::Table => {
            let schema = serde_json::to_string_pretty(&description.settings_schema);
            let row = |name: &str, value: String| vec![name.to_owned(), value];
            output::table(
                &[],
                [
                    row("name", description.name.clone()),
                    row("version", description.version.clone()),
                    row("world", WIT_VERSION.to_owned()),
                    row("module", module.to_string()),
                    row("bytes", size.to_string()),
                    row("engine profile", described.engine_profile.to_string()),
                    row("settings", schema.or_fail(Class::Internal)?),
                ],
            )?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
