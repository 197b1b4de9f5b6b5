//! The arguments of `sealwright policy`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::text;

/// `sealwright policy`.
#[derive(Debug, Args)]
#[command(after_help = text::POLICY)]
pub(crate) struct PolicyArgs {
    #[command(subcommand)]
    pub(crate) command: PolicyCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum PolicyCommand {
    /// What a module says about itself: name, version, the schema of its settings, digests.
    Describe(DescribeArgs),
}

/// `sealwright policy describe`.
#[derive(Debug, Args)]
pub(crate) struct DescribeArgs {
    /// The component.
    #[arg(value_name = "MODULE")]
    pub(crate) module: PathBuf,
}
