//! `[gate.confinement]` in terms of this machine's files.

use std::path::{Path, PathBuf};

use sealwright_gate::config::{Confine, GateConfig};
use sealwright_hsm::softhsm::TokenFolder;
use sealwright_runtime::process::{
    confinement::{self, Confinement, Files, Wanted},
    seccomp::{Calls, Sockets},
};

use crate::{
    failure::{Class, Failure, OrFail},
    files,
    settings::Loaded,
};

/// Gives up what is not needed, for ever. Call it in the gate's environment, before there is a second
/// thread, and after the gate's home was made.
pub(super) fn confine(loaded: &Loaded) -> Result<Confinement, Failure> {
    let Some(wanted) = wanted(loaded, TokenFolder::from_environment().as_ref())? else {
        return Ok(Confinement::default());
    };
    // A folder that is not there yet is covered by the one it will be made in.
    confinement::confine(wanted).or_fail_doing(Class::Usage, "gate.confinement")
}

fn wanted(loaded: &Loaded, softhsm: Option<&TokenFolder>) -> Result<Option<Wanted>, Failure> {
    let gate = &loaded.settings.gate;
    let config = &gate.confinement;
    let strict = match config.mode {
        Confine::Off => return Ok(None),
        Confine::Strict => true,
        Confine::Auto => false,
    };
    let calls = Calls {
        sockets: if config.network {
            Sockets::Internet
        } else {
            Sockets::Unix
        },
        processes: config.processes,
    };
    // Where a module keeps its tokens is known of SoftHSM, or was said.
    let known = softhsm.is_some() || !config.write.is_empty();
    let files = (strict || known).then(|| -> Result<Files, Failure> {
        Ok(Files {
            read: if strict { Some(reads(loaded)?) } else { None },
            write: writes(loaded, softhsm),
        })
    });
    Ok(Some(Wanted {
        calls,
        files: files.transpose()?,
        or_no_start: strict,
    }))
}

fn writes(loaded: &Loaded, softhsm: Option<&TokenFolder>) -> Vec<PathBuf> {
    let gate = &loaded.settings.gate;
    let socket = gate.socket.as_deref().and_then(Path::parent);
    let tokens = softhsm.map(|folder| loaded.base.join(folder.tokens()));
    let mut all: Vec<_> = [gate.home.clone()]
        .into_iter()
        .chain(tokens)
        .chain(socket.map(Path::to_owned))
        .chain(gate.confinement.write.iter().cloned())
        .filter_map(existing)
        .collect();
    all.dedup();
    all
}

/// The path, or the nearest folder above it that is there.
fn existing(path: PathBuf) -> Option<PathBuf> {
    path.ancestors().find(|path| path.exists()).map(Path::to_owned)
}

/// What the gate itself reads, with the folders around it, since files are replaced; and every file that
/// the module's environment names.
fn reads(loaded: &Loaded) -> Result<Vec<PathBuf>, Failure> {
    let settings = &loaded.settings;
    let gate: &GateConfig = &settings.gate;
    let issuers = settings
        .issuers
        .iter()
        .flat_map(|issuer| [&issuer.chain, &issuer.roots]);
    let own = issuers
        .chain(settings.policies.iter().map(|policy| &policy.module))
        .chain(&gate.token.pin_file)
        .chain(
            gate.verify_caller
                .iter()
                .filter_map(|entry| entry.jwks_file.as_ref()),
        )
        .chain([&gate.token.module, &loaded.file]);
    let around = own.filter_map(|file| {
        let folder = file.parent()?;
        // Not the whole system for the sake of one file.
        let whole = folder.components().count() > 2;
        Some(if whole { folder.to_owned() } else { file.to_owned() })
    });
    let named = std::env::vars_os()
        .map(|(_name, value)| loaded.base.join(value))
        .filter(|path| path.exists());
    let softhsm = TokenFolder::from_environment().map(|folder| loaded.base.join(folder.tokens()));
    let transcripts = settings
        .issuers
        .iter()
        .filter_map(|issuer| issuer.ceremony.as_ref()?.transcript())
        .map(Path::to_owned);
    let mut all: Vec<_> = around
        .chain(transcripts)
        .chain(named)
        .chain(softhsm)
        .chain([gate.home.clone(), files::own_program()?])
        .chain(gate.confinement.read.iter().cloned())
        .collect();
    all.sort();
    all.dedup();
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loaded(confinement: &str) -> Loaded {
        let folder = tempfile::tempdir().unwrap();
        let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/samples/sealwright.toml");
        let text = std::fs::read_to_string(sample).unwrap();
        let (before, after) = text.split_once("[gate.confinement]").unwrap();
        let (_, after) = after.split_once("\n[").unwrap();
        let text = format!("{before}[gate.confinement]\n{confinement}\n[{after}");
        let file = folder.path().join("sealwright.toml");
        std::fs::write(&file, text).unwrap();
        crate::settings::load(&file, &[]).unwrap()
    }

    #[test]
    fn off_takes_nothing() {
        assert_eq!(wanted(&loaded("mode = \"off\""), None).unwrap(), None);
    }

    #[test]
    fn auto_leaves_the_files_of_unknown_modules_alone() {
        let wanted_now = wanted(&loaded("mode = \"auto\""), None).unwrap().unwrap();
        assert_eq!(wanted_now.files, None);
        assert_eq!(wanted_now.calls.sockets, Sockets::Unix);
        assert!(!wanted_now.or_no_start);

        let softhsm = TokenFolder::new("/nowhere/tokens");
        let files = wanted(&loaded("mode = \"auto\""), Some(&softhsm))
            .unwrap()
            .unwrap()
            .files
            .unwrap();
        assert_eq!(files.read, None);
        assert!(
            files.write.contains(&PathBuf::from("/")),
            "the nearest that is there"
        );

        let told = loaded("write = [\"/tmp\"]\nnetwork = true");
        let told = wanted(&told, None).unwrap().unwrap();
        assert!(told.files.unwrap().write.contains(&PathBuf::from("/tmp")));
        assert_eq!(told.calls.sockets, Sockets::Internet);
    }

    #[test]
    fn strict_lists_what_is_read() {
        let loaded = loaded("mode = \"strict\"\nread = [\"/opt/vendor\"]");
        let strict = wanted(&loaded, None).unwrap().unwrap();
        assert!(strict.or_no_start);
        let read = strict.files.unwrap().read.unwrap();
        assert!(read.contains(&PathBuf::from("/opt/vendor")));
        assert!(read.contains(&loaded.base), "its own folder: {read:?}");
        assert!(!read.contains(&PathBuf::from("/")));
    }
}
