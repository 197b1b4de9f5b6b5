//! `policy build` and `policy verify-source`: the same source, lock file and compiler give the same bytes.
//!
//! What is built is the archive, not the folder: it is unpacked into one fixed work folder, whose path is
//! taken out of the module, so that the place of the source does not matter. Dependencies and the standard
//! library stay compiled there from one build to the next.

mod cargo;
mod source;
mod tar;
mod toolchain;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use sealwright_identity::Digest;
use sealwright_policy_wasm::{BuildNote, Vector, VectorFormat, build_note, componentize};
use serde::Serialize;

use self::{cargo::Workshop, source::Source};
use crate::{
    args::{BuildArgs, VerifySourceArgs},
    failure::{Class, Failure, OrFail},
    files,
    output::{self, Output},
};

/// What a build left behind.
#[derive(Debug, Serialize)]
pub(super) struct Built {
    pub(super) name: String,
    pub(super) module: Digest,
    pub(super) module_bytes: usize,
    pub(super) module_file: PathBuf,
    pub(super) source: Digest,
    pub(super) source_bytes: usize,
    pub(super) source_file: PathBuf,
    pub(super) compiler: String,
}

pub(super) fn run(args: &BuildArgs, output: Output) -> Result<ExitCode, Failure> {
    let built = build(&args.dir, args.build_dir.as_deref())?;
    match output {
        Output::Json => output::json(&built)?,
        Output::Table => {
            let row = |name: &str, value: String| vec![name.to_owned(), value];
            let rows = [
                row("module", built.module_file.display().to_string()),
                row("", format!("{}, {} bytes", built.module, built.module_bytes)),
                row("source", built.source_file.display().to_string()),
                row("", format!("{}, {} bytes", built.source, built.source_bytes)),
                row("compiler", built.compiler.clone()),
            ];
            output::table(&[], rows)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Builds the crate in a folder, and writes module and source archive beside it.
pub(super) fn build(dir: &Path, work: Option<&Path>) -> Result<Built, Failure> {
    let mut source = Source::of_folder(dir)?;
    let workshop = Workshop::open(work)?;
    let (component, note) = make(&workshop, &source, false)?;
    // What cargo chose is part of the source.
    let lock = workshop.lock_file()?;
    if source.lock() != Some(lock.as_slice()) {
        files::write(&dir.join(source::LOCK), &lock, 0o644)?;
        source.set_lock(lock);
    }
    drop(workshop);
    let archive = source.archive()?;
    let module_file = dir.join(format!("{}.wasm", source.name()));
    let source_file = dir.join(format!("{}.source.tar", source.name()));
    files::write(&module_file, &component, 0o644)?;
    files::write(&source_file, &archive, 0o644)?;
    Ok(Built {
        name: source.name().to_owned(),
        module: Digest::of(&component),
        module_bytes: component.len(),
        module_file,
        source: Digest::of(&archive),
        source_bytes: archive.len(),
        source_file,
        compiler: note.compiler,
    })
}

/// The vectors in an archive that `policy build` wrote, by name.
///
/// # Errors
/// When it is another archive, or one of them is no vector.
pub(super) fn vectors_of(archive: &[u8]) -> Result<Vec<Vector>, Failure> {
    let files = tar::read(archive).or_fail_doing(Class::Input, "the source archive")?;
    let mut vectors = Vec::new();
    for (path, bytes) in &files {
        let inside = path.strip_prefix("vectors/").filter(|name| !name.contains('/'));
        let Some((path, format)) = inside.and_then(|_| Some((path, VectorFormat::of(Path::new(path))?)))
        else {
            continue;
        };
        let name = Path::new(path)
            .file_stem()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        let text = std::str::from_utf8(bytes).or_fail_doing(Class::Input, path)?;
        vectors.push(Vector::parse(name, format, text).or_fail_doing(Class::Input, path)?);
    }
    vectors.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(vectors)
}

/// The component, with the note of what made it.
fn make(workshop: &Workshop, source: &Source, again: bool) -> Result<(Vec<u8>, BuildNote), Failure> {
    let core = workshop.build(source, again)?;
    let note = workshop.note();
    let component = componentize(&core, &note).or_fail_doing(
        Class::Input,
        "this crate is no policy: it needs sealwright_policy_sdk::export!(…), and crate-type = [\"cdylib\"]",
    )?;
    Ok((component, note))
}

#[derive(Serialize)]
struct Verified {
    same: bool,
    module: Digest,
    source: Digest,
    compiler: String,
}

pub(super) fn verify(args: &VerifySourceArgs, output: Output) -> Result<ExitCode, Failure> {
    let module = super::module::read(&args.module)?;
    let source = if args.source.is_dir() {
        Source::of_folder(&args.source)?
    } else {
        Source::of_archive(&args.source)?
    };
    let archive = source.archive()?;
    let workshop = Workshop::open(args.build_dir.as_deref())?;
    let (component, here) = make(&workshop, &source, true)?;
    let there = build_note(&module);
    if component != module {
        return Err(differ(&module, &component, there.as_ref(), &here));
    }
    let verified = Verified {
        same: true,
        module: Digest::of(&module),
        source: Digest::of(&archive),
        compiler: here.compiler,
    };
    match output {
        Output::Json => output::json(&verified)?,
        Output::Table => output::line(&format!(
            "the same: {} is built from {} by {}",
            verified.module, verified.source, verified.compiler
        ))?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Why two modules need not be the same, where that is known.
fn differ(module: &[u8], built: &[u8], there: Option<&BuildNote>, here: &BuildNote) -> Failure {
    let digests = format!("{} was built here, not {}", Digest::of(built), Digest::of(module));
    let text = match there {
        None => {
            format!("{digests}; the module does not say what built it, so this says nothing of its source")
        }
        Some(there) if there != here => {
            format!(
                "not comparable: {digests}; there: {}; here: {}",
                show(there),
                show(here)
            )
        }
        Some(_) => format!("the module is not built from this source: {digests}, by the same compiler"),
    };
    Failure::text(Class::Input, text)
}

fn show(note: &BuildNote) -> String {
    format!(
        "{}, {} standard library, {}, {}",
        note.compiler, note.standard_library, note.linker, note.encoder
    )
}
