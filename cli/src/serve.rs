//! `sealwright serve`: the signer, from a configuration file.

use std::process::ExitCode;

use crate::{
    args::ServeArgs,
    failure::Failure,
    launch::{self, Launch},
};

pub(crate) fn run(args: ServeArgs) -> Result<ExitCode, Failure> {
    launch::run(Launch {
        config: args.config,
        listen: args.listen,
        http: args.http,
        end_when_refused: false,
        // The log says it.
        on_ready: Box::new(|_| {}),
    })
}
