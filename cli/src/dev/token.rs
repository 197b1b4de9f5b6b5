//! `sealwright dev token`: a service-account token, one line.

use std::process::ExitCode;

use sealwright_identity::{Clock, Identity, SystemClock, TrustDomain};

use super::{home::Home, jwt};
use crate::{
    args::TokenArgs,
    failure::{Class, Failure, OrFail},
    output,
};

pub(crate) fn run(args: &TokenArgs) -> Result<ExitCode, Failure> {
    let domain: TrustDomain = "cluster.local".parse().or_fail(Class::Internal)?;
    // A name that no identity can have would only be refused later, and elsewhere.
    Identity::new(&domain, &args.namespace, &args.service_account).or_fail(Class::Usage)?;
    let token = jwt::token(
        &Home::at(&args.home),
        &jwt::Claims {
            namespace: &args.namespace,
            service_account: &args.service_account,
            audience: &args.audience,
            ttl: args.ttl.seconds(),
            now: SystemClock.now(),
        },
    )?;
    output::line(&token)?;
    Ok(ExitCode::SUCCESS)
}
