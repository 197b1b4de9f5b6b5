//! `sealwright log prune`.

use std::path::PathBuf;

use clap::Args;

use super::Where;
use crate::text;

#[derive(Debug, Args)]
#[command(after_help = text::PRUNE)]
pub(crate) struct PruneArgs {
    #[command(flatten)]
    pub(crate) place: Where,
    /// What was recorded before this time (RFC 3339), or longer ago (2160h), goes.
    #[arg(long, value_name = "T")]
    pub(crate) before: String,
    /// Files of `log export` that hold what goes, in any order.
    #[arg(long = "export", value_name = "FILE", num_args = 1..)]
    pub(crate) exports: Vec<PathBuf>,
    /// Say what would go and whether it may, and change nothing; works beside a running signer.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Do not ask.
    #[arg(long)]
    pub(crate) yes: bool,
}
