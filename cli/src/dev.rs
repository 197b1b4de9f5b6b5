//! `sealwright dev`: one command to a running signer.

pub(crate) mod home;
pub(crate) mod jwt;
mod policy;
pub(crate) mod provision;
mod template;
mod token;

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::PathBuf,
    process::ExitCode,
};

use sealwright_runtime::{process, supervisor::Bound};
use serde::Serialize;

use crate::{
    args::{DevArgs, DevCommand, DevStart},
    failure::{Class, Failure, OrFail},
    launch::{self, Launch},
    output,
};

pub(crate) fn run(args: DevArgs) -> Result<ExitCode, Failure> {
    match (args.command, args.start) {
        (Some(DevCommand::Token(token)), _) => token::run(&token),
        (None, Some(start)) => serve(&start),
        (None, None) => Err(Failure::text(Class::Usage, "dev needs --home DIR")),
    }
}

fn serve(start: &DevStart) -> Result<ExitCode, Failure> {
    if let Some(parent) = start.parent {
        process::die_with_parent(parent).or_fail(Class::Internal)?;
    }
    let home = home::open_or_make(start)?;
    let config = home.config();
    let on_ready = move |bound: Bound| {
        let line = Ready {
            grpc: reachable(bound.grpc).to_string(),
            http: format!("http://{}", reachable(bound.http)),
            trust_bundle: home.roots(),
            home: home.path().to_owned(),
        };
        if let Err(failure) = output::json(&line) {
            output::notice(&failure.to_string());
        }
    };
    launch::run(Launch {
        config,
        listen: Some(start.listen),
        http: Some(start.http),
        end_when_refused: true,
        on_ready: Box::new(on_ready),
    })
}

/// The one line on standard output.
#[derive(Debug, Serialize)]
struct Ready {
    grpc: String,
    http: String,
    trust_bundle: PathBuf,
    home: PathBuf,
}

/// An address to connect to: a wildcard is not one.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}
