//! `sealwright ceremony note`.

use std::{process::ExitCode, sync::Arc};

use sealwright_ceremony::journal::{Note, Subject};
use sealwright_hsm::ceremony::hash_file;
use sealwright_identity::SystemClock;

use super::fail;
use crate::{
    args::{About, NoteArgs},
    failure::{Class, Failure, OrFail},
};

pub(super) fn run(args: &NoteArgs) -> Result<ExitCode, Failure> {
    let file = match &args.file {
        Some(path) => {
            let doing = format!("cannot read {}", path.display());
            Some(hash_file(path).or_fail_doing(Class::Input, doing)?)
        }
        None => None,
    };
    let note = Note {
        subject: match args.about {
            About::Exception => Subject::Exception,
            About::Photograph => Subject::Photograph,
            About::Enters => Subject::Enters,
            About::Leaves => Subject::Leaves,
            About::Remark => Subject::Remark,
        },
        text: args.text.clone(),
        file,
    };
    sealwright_ceremony::note(&args.transcript, Arc::new(SystemClock), &note).map_err(fail)?;
    Ok(ExitCode::SUCCESS)
}
