//! `policy approve`, `activate`, `rollback`, `revoke`: what people agree on, and what comes of it.

use std::{process::ExitCode, time::Duration};

use sealwright_identity::{Digest, HumanDuration};
use sealwright_proto::policy::{ActivateRequest, ApproveRequest, ListResponse, RevokeRequest};
use sealwright_statement::{
    Sealed, Signed,
    policy::{MAX_ROLLBACK_WINDOW, Revocation, Roster, Set},
};
use serde::Serialize;

use super::{admission, ahead, propose, review, wire};
use crate::{
    args::{ActivateArgs, ApproveSetArgs, RevokeArgs, RollbackArgs},
    failure::{Class, Failure},
    output::{self, Output},
    signing,
};

/// How long a rollback that is needed now may be activated.
const ROLLBACK_VALID: Duration = Duration::from_secs(3600);

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
    /// Not told of a rollback from a file.
    #[serde(skip_serializing_if = "Option::is_none")]
    counted: Option<Vec<String>>,
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
    let key = std::slice::from_ref(&args.sign_with);
    let set = signing::sign(review.set, key, &args.tokens).await?;
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
    if let Some(file) = &args.file {
        let (number, set) = ahead::enact(&mut client, file).await?;
        let in_force = InForce {
            number,
            set,
            counted: None,
        };
        return in_force.told(output);
    }
    let set = args.set.map(|set| set.to_string()).unwrap_or_default();
    let rehearsed = must_agree(&wire::list(&mut client).await?)? == 0;
    let code = put_in_force(&mut client, set, output).await?;
    // The set is in force: an answer that does not come now changes nothing about that.
    if rehearsed
        && let Ok(known) = wire::list(&mut client).await
        && must_agree(&known)? > 0
    {
        output::notice(
            "from now on people must agree; before the next start take `issuers.policies` and `[[policies]]` out \
             of the configuration: the signer refuses to start with them",
        );
    }
    Ok(code)
}

fn must_agree(known: &ListResponse) -> Result<u64, Failure> {
    let roster: Signed<Roster> = wire::statement(&known.roster)?;
    Ok(roster.statement.threshold)
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
        counted: Some(activated.counted),
    };
    in_force.told(output)
}

impl InForce {
    fn told(self, output: Output) -> Result<ExitCode, Failure> {
        match output {
            Output::Json => output::json(&self)?,
            Output::Table => {
                let mut rows = vec![
                    vec!["in force".to_owned(), self.number.to_string()],
                    vec!["set".to_owned(), self.set],
                ];
                rows.extend(
                    self.counted
                        .map(|people| vec!["agreed".to_owned(), people.join(", ")]),
                );
                output::table(&[], rows)?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
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
    if let Some(next) = args.ahead {
        return rollback_ahead(&mut client, &known, next, &earlier.statement, args, output).await;
    }
    let valid = args.valid.map_or(ROLLBACK_VALID, HumanDuration::get);
    let mut set = propose::follow(&known, ahead::short(valid)?)?;
    set.entries = earlier.statement.entries.clone();
    set.stop = earlier.statement.stop;
    set.restores = Some(args.number);
    let set = signing::sign(wire::seal(set)?, &args.sign_with, &args.tokens).await?;
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

/// The same, to be kept for the day when it is needed.
async fn rollback_ahead(
    client: &mut wire::Client,
    known: &ListResponse,
    next: Digest,
    earlier: &Sealed<Set>,
    args: &RollbackArgs,
    output: Output,
) -> Result<ExitCode, Failure> {
    let valid = args.valid.map_or(MAX_ROLLBACK_WINDOW, HumanDuration::get);
    let next: Signed<Set> = propose::fetch(client, next).await?;
    let set = ahead::over(known, &next.statement, earlier, valid)?;
    let set = signing::sign(set, &args.sign_with, &args.tokens).await?;
    let proposed = propose::propose(client, set.to_string()).await?;
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
    let revocation = wire::seal(Revocation {
        deployment: wire::digest(&known.deployment)?,
        revision: args.revision,
        reason: args.reason.clone(),
        number: active.statement.number,
    })?;
    let revocation = signing::sign(revocation, &args.sign_with, &args.tokens).await?;
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
