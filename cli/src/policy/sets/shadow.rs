//! `policy shadow` and `policy shadows`: revisions that run in shadow at one signer, for a while.

use std::process::ExitCode;

use sealwright_identity::Timestamp;
use sealwright_proto::policy::{FrontShadow, ListShadowsRequest, ShadowRequest, StopShadowRequest};
use serde::Serialize;

use super::wire;
use crate::{
    args::{ShadowArgs, ShadowsArgs},
    failure::{Class, Failure, OrFail},
    output::{self, Output},
};

#[derive(Serialize)]
struct Shadows {
    /// How many may run at a time.
    most: u32,
    shadows: Vec<Shadow>,
}

#[derive(Serialize)]
struct Shadow {
    revision: String,
    policy: String,
    module: String,
    asked_by: String,
    since: String,
    until: String,
    same: u64,
    denies: u64,
    allows: u64,
    narrows: u64,
    aborted: u64,
    not_compared: u64,
    left_out: u64,
}

pub(super) async fn run(args: &ShadowArgs, output: Output) -> Result<ExitCode, Failure> {
    let mut client = wire::connect(&args.signer).await?;
    let revision = args.revision.to_string();
    let shadow = if args.stop {
        let answer = client.stop_shadow(StopShadowRequest { revision }).await;
        answer.map_err(wire::refused)?.into_inner().shadow
    } else {
        let duration = args.duration.get().try_into().or_fail(Class::Usage)?;
        let request = ShadowRequest {
            revision,
            duration: Some(duration),
        };
        client
            .shadow(request)
            .await
            .map_err(wire::refused)?
            .into_inner()
            .shadow
    };
    let missing = || Failure::text(Class::Internal, "the signer answered with no shadow");
    let shadow = Shadow::of(shadow.ok_or_else(missing)?);
    match output {
        Output::Json => output::json(&shadow)?,
        Output::Table => table(&[shadow])?,
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn list(args: &ShadowsArgs, output: Output) -> Result<ExitCode, Failure> {
    let mut client = wire::connect(&args.signer).await?;
    let answer = client.list_shadows(ListShadowsRequest {}).await;
    let answer = answer.map_err(wire::refused)?.into_inner();
    let listed = Shadows {
        most: answer.most,
        shadows: answer.shadows.into_iter().map(Shadow::of).collect(),
    };
    match output {
        Output::Json => output::json(&listed)?,
        Output::Table => {
            table(&listed.shadows)?;
            output::line(&format!(
                "{} of {} places taken",
                listed.shadows.len(),
                listed.most
            ))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

impl Shadow {
    fn of(told: FrontShadow) -> Self {
        Self {
            revision: told.revision,
            policy: told.policy,
            module: told.module,
            asked_by: told.asked_by,
            since: Timestamp::from_micros(told.since_micros).to_string(),
            until: Timestamp::from_micros(told.until_micros).to_string(),
            same: told.same,
            denies: told.denies,
            allows: told.allows,
            narrows: told.narrows,
            aborted: told.aborted,
            not_compared: told.not_compared,
            left_out: told.left_out,
        }
    }
}

fn table(shadows: &[Shadow]) -> Result<(), Failure> {
    let rows = shadows.iter().map(|shadow| {
        let counts = [
            ("same", shadow.same),
            ("denies", shadow.denies),
            ("allows", shadow.allows),
            ("narrows", shadow.narrows),
            ("aborted", shadow.aborted),
            ("not compared", shadow.not_compared),
            ("left out", shadow.left_out),
        ];
        let counts = counts.iter().filter(|(_, count)| *count > 0);
        let counts: Vec<String> = counts.map(|(what, count)| format!("{what} {count}")).collect();
        vec![
            shadow.policy.clone(),
            shadow.revision.clone(),
            shadow.asked_by.clone(),
            shadow.until.clone(),
            counts.join("\n"),
        ]
    });
    output::table(&["policy", "revision", "asked by", "until", "came to"], rows)
}
