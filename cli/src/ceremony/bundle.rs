//! `sealwright ceremony bundle` and `report`: what goes to a machine without a network, and what people read afterwards.

use std::{fs, path::PathBuf, process::ExitCode};

use sealwright_ceremony::{Bundle, Mode, Report};
use sealwright_identity::Digest;
use serde::Serialize;

use super::{fail, spoken};
use crate::{
    args::{BundleArgs, ReportArgs},
    failure::{Class, Failure, OrFail},
    files,
    output::{self, Output},
};

/// What the checker is.
const CHECK: &str = include_str!("bundle/check.sh");

/// What is read first.
const README: &str = include_str!("bundle/README.md");

/// The documents, by their names in the bundle.
const DOCUMENTS: [(&str, &str); 4] = [
    ("README.md", README),
    ("docs/ceremony.md", include_str!("../../../docs/ceremony.md")),
    (
        "docs/adr/0011-key-ceremony.md",
        include_str!("../../../docs/adr/0011-key-ceremony.md"),
    ),
    // Who passes fonts on passes their licence on, and they are in the program.
    (
        "docs/fonts-licence.txt",
        include_str!("../../../ceremony/fonts/LICENSE"),
    ),
];

#[derive(Serialize)]
struct Written {
    file: PathBuf,
    /// Of the sums in it.
    digest: Digest,
    words: String,
    /// Of the archive.
    archive: Digest,
}

pub(super) fn bundle(args: &BundleArgs, output: Output) -> Result<ExitCode, Failure> {
    let mut bundle = Bundle::default();
    let mut add = |name: &str, mode, bytes| bundle.add(name, mode, bytes).map_err(fail);
    let program = fs::read("/proc/self/exe").or_fail_doing(Class::Internal, "cannot read this program")?;
    add("bin/sealwright", Mode::Program, program)?;
    add("check.sh", Mode::Program, CHECK.as_bytes().to_vec())?;
    for (name, text) in DOCUMENTS {
        add(name, Mode::Plain, text.as_bytes().to_vec())?;
    }
    for path in &args.add {
        let name = path.file_name().and_then(|name| name.to_str()).ok_or_else(|| {
            Failure::text(
                Class::Input,
                format!("{} has no name that is text", path.display()),
            )
        })?;
        let bytes = fs::read(path).or_fail_doing(Class::Input, format!("cannot read {}", path.display()))?;
        add(&format!("files/{name}"), Mode::Plain, bytes)?;
    }
    let archive = bundle.archive().map_err(fail)?;
    files::create(&args.out, &archive, 0o644)?;
    let digest = bundle.digest();
    let written = Written {
        file: args.out.clone(),
        digest,
        words: spoken(&digest),
        archive: Digest::of(&archive),
    };
    match output {
        Output::Json => output::json(&written)?,
        Output::Table => {
            output::line(&format!("the sums in {} are {digest}", args.out.display()))?;
            output::line(&written.words)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) fn report(args: &ReportArgs) -> Result<ExitCode, Failure> {
    let report =
        Report::of(&args.transcript).or_fail_doing(Class::Contradicted, "the transcript does not hold")?;
    let pdf = args.pdf.as_ref().map(|path| Ok((path, report.pdf()?)));
    let html = args.html.as_ref().map(|path| (path, report.html().into_bytes()));
    for (path, bytes) in html.into_iter().chain(pdf.transpose().map_err(fail)?) {
        files::create(path, &bytes, 0o644)?;
    }
    Ok(ExitCode::SUCCESS)
}
