//! `policy approve`, `activate`, `rollback`, `revoke`: what people agree on, and what comes of it.

use std::process::ExitCode;

use sealwright_proto::policy::{ActivateRequest, ApproveRequest, RevokeRequest};
use sealwright_statement::{
    Signed,
    policy::{Revocation, Set},
};
use serde::Serialize;

use super::{admission, propose, review, wire};
use crate::{
    args::{ActivateArgs, ApproveSetArgs, RevokeArgs, RollbackArgs},
    failure::{Class, Failure},
    output::{self, Output},
};

#[derive(Serialize)]
struct Agreed {
    set: String,
    needed: u64,
    counted: Vec<String>,
    uncounted: Vec<String>,
    trouble: Option<String>,
}

#[derive(Serialize)]
struct InForce {
    number: u64,
    set: String,
    counted: Vec<String>,
}

#[derive(Serialize)]
struct Revoked {
    revision: String,
}

pub(super) async fn approve(args: &ApproveSetArgs, output: Output) -> Result<ExitCode, Failure> {
    let mut client = wire::connect(&args.signer).await?;
    let review = review::fetch(&mut client, args.set).await?;
    review::explain(&review)?;
    admission::agrees(&mut client, &review).await?;
    let mut set = review.set;
    wire::sign(&mut set, &args.sign_with)?;
    let request = ApproveRequest {
        statement: set.to_string(),
    };
    let agreed = client.approve(request).await.map_err(wire::refused)?.into_inner();
    let digest = set.statement.digest();
    let agreed = Agreed {
        set: digest.to_string(),
        needed: agreed.needed,
        counted: agreed.counted,
        uncounted: agreed.uncounted,
        trouble: Some(agreed.trouble).filter(|trouble| !trouble.is_empty()),
    };
    match output {
        Output::Json => output::json(&agreed)?,
        Output::Table => output::table(
            &[],
            [
                vec!["signed".to_owned(), agreed.set],
                vec!["words".to_owned(), wire::spoken(&digest)],
                vec!["must agree".to_owned(), agreed.needed.to_string()],
                vec!["agreed".to_owned(), agreed.counted.join(", ")],
                vec!["do not count".to_owned(), agreed.uncounted.join(", ")],
                vec!["against it".to_owned(), agreed.trouble.unwrap_or_default()],
            ],
        )?,
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn activate(args: &ActivateArgs, output: Output) -> Result<ExitCode, Failure> {
    let mut client = wire::connect(&args.signer).await?;
    let set = args.set.map(|set| set.to_string()).unwrap_or_default();
    put_in_force(&mut client, set, output).await
}

async fn put_in_force(client: &mut wire::Client, set: String, output: Output) -> Result<ExitCode, Failure> {
    let activated = client
        .activate(ActivateRequest { set })
        .await
        .map_err(wire::refused)?
        .into_inner();
    let in_force = InForce {
        number: activated.number,
        set: activated.digest,
        counted: activated.counted,
    };
    match output {
        Output::Json => output::json(&in_force)?,
        Output::Table => output::table(
            &[],
            [
                vec!["in force".to_owned(), in_force.number.to_string()],
                vec!["set".to_owned(), in_force.set],
                vec!["agreed".to_owned(), in_force.counted.join(", ")],
            ],
        )?,
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn rollback(args: &RollbackArgs, output: Output) -> Result<ExitCode, Failure> {
    let mut client = wire::connect(&args.signer).await?;
    let known = wire::list(&mut client).await?;
    let earlier = known.sets.iter().find(|set| set.number == args.number);
    let earlier = earlier.ok_or_else(|| {
        Failure::text(
            Class::Usage,
            format!("the signer knows no set {} that was in force", args.number),
        )
    })?;
    let earlier: Signed<Set> = propose::fetch(&mut client, wire::digest(&earlier.digest)?).await?;
    let mut set = propose::follow(&known, args.valid.get())?;
    set.entries = earlier.statement.entries.clone();
    set.stop = earlier.statement.stop;
    set.restores = Some(args.number);
    let mut set = wire::seal(set)?;
    for key in &args.sign_with {
        wire::sign(&mut set, key)?;
    }
    let proposed = propose::propose(&mut client, set.to_string()).await?;
    if u64::try_from(proposed.counted.len()).is_ok_and(|counted| counted >= proposed.needed.max(1)) {
        return put_in_force(&mut client, proposed.set, output).await;
    }
    // Where nobody was counted, something else speaks against it.
    if let (0, Some(trouble)) = (proposed.needed, &proposed.trouble) {
        return Err(Failure::text(Class::Input, trouble));
    }
    output::notice("not enough agree yet: have it approved by others, then activate it");
    let proposed = propose::Proposed {
        number: set.statement.number,
        ..proposed
    };
    propose::told(&proposed, output)
}

pub(super) async fn revoke(args: &RevokeArgs, output: Output) -> Result<ExitCode, Failure> {
    let mut client = wire::connect(&args.signer).await?;
    let known = wire::list(&mut client).await?;
    let active: Signed<Set> = match &*known.active {
        "" => {
            return Err(Failure::text(
                Class::Usage,
                "no set is in force: there is nothing to revoke",
            ));
        }
        active => wire::statement(active)?,
    };
    let mut revocation = wire::seal(Revocation {
        deployment: wire::digest(&known.deployment)?,
        revision: args.revision,
        reason: args.reason.clone(),
        number: active.statement.number,
    })?;
    for key in &args.sign_with {
        wire::sign(&mut revocation, key)?;
    }
    let request = RevokeRequest {
        revocation: revocation.to_string(),
    };
    let revoked = client.revoke(request).await.map_err(wire::refused)?.into_inner();
    let revoked = Revoked {
        revision: revoked.revision,
    };
    match output {
        Output::Json => output::json(&revoked)?,
        Output::Table => output::table(&[], [vec!["revoked".to_owned(), revoked.revision]])?,
    }
    Ok(ExitCode::SUCCESS)
}
