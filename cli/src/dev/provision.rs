//! The child of `sealwright dev` that makes the CA: a rehearsed key ceremony, run by the code of every other.
//!
//! One person, whose key is thrown away when it has signed; no questions. What it leaves is a transcript like any, which
//! the gate verifies at its first start.

use std::{ffi::OsString, path::Path, process::ExitCode, sync::Arc, time::Duration};

use sealwright_ceremony::{
    Approval, ApprovedPlan, Ceremony, CeremonyId, Error, LintedPlan, Person, PinFor, Place, Role, Room,
    Roster, Surroundings, journal::Crash,
};
use sealwright_hsm::{Pin, PinSource, softhsm::TokenFolder};
use sealwright_identity::{Clock, Digest, SystemClock, Timestamp};
use sealwright_statement::{FileSigner, KeyKind, Sealed, Signed, Signer as _};
use sealwright_x509::BACKDATING;

use super::home::Home;
use crate::{
    args::{Algorithm, ProvisionArgs},
    failure::{Class, Failure, OrFail},
    files::{self, quoted},
};

const DAY: Duration = Duration::from_secs(86_400);
const ROOT_LIFE: Duration = DAY.saturating_mul(3650);
const ISSUER_LIFE: Duration = DAY.saturating_mul(1825);

/// What tokens other than SoftHSM may leave unsaid of a development key.
const UNSAID: [&str; 12] = [
    "CKA_ALLOWED_MECHANISMS",
    "CKA_ALWAYS_SENSITIVE",
    "CKA_DECRYPT",
    "CKA_DERIVE",
    "CKA_ENCRYPT",
    "CKA_KEY_GEN_MECHANISM",
    "CKA_LOCAL",
    "CKA_MODIFIABLE",
    "CKA_NEVER_EXTRACTABLE",
    "CKA_SIGN_RECOVER",
    "CKA_UNWRAP",
    "CKA_WRAP",
];

/// The child's command line.
pub(super) fn arguments(home: &Path, module: &Path, label: &str, algorithm: Algorithm) -> Vec<OsString> {
    vec![
        "dev-provision".into(),
        "--home".into(),
        home.into(),
        "--module".into(),
        module.into(),
        "--label".into(),
        label.into(),
        "--algorithm".into(),
        algorithm.name().into(),
    ]
}

pub(crate) fn run(args: &ProvisionArgs) -> Result<ExitCode, Failure> {
    let home = Home::at(&args.home);
    let (operator, _thrown_away) = FileSigner::generate(KeyKind::P256).or_fail(Class::Internal)?;
    let roster = roster(&operator)?;
    let plan = plan(args, &roster.digest())?;
    let mut approval =
        Signed::unsigned(Sealed::new(Approval::of(&plan, Role::Operator)).or_fail(Class::Internal)?);
    approval.sign(&operator).or_fail(Class::Internal)?;
    let clock = SystemClock;
    let approved = ApprovedPlan::judge(plan, roster, vec![approval], clock.now()).or_fail(Class::Internal)?;
    let surroundings = Surroundings {
        place: Place {
            transcript: home.ceremony(),
            state: home.path().join("gate"),
        },
        previous: None,
        transcripts: Vec::new(),
        resume: false,
        clock: Arc::new(clock),
        crash: Crash::default(),
    };
    let mut nobody = Nobody { home: &home };
    let finished = Ceremony::begin(approved, &surroundings)
        .and_then(|ceremony| ceremony.run(&mut nobody))
        .or_fail_doing(Class::Usage, "the ceremony of the development CA failed")?;
    finished
        .write(&[&operator])
        .or_fail_doing(Class::Internal, "the transcript cannot be written")?;
    for (from, to) in [
        ("chains/issuing-ca.pem", home.chain()),
        ("trust-bundle.pem", home.roots()),
    ] {
        let from = home.ceremony().join(from);
        let text = std::fs::read(&from).or_fail_doing(Class::Internal, from.display())?;
        files::write(&to, &text, 0o644)?;
    }
    if let Some(folder) = TokenFolder::from_environment() {
        folder
            .keep_copy()
            .or_fail_doing(Class::Internal, "cannot keep a copy of the token")?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The one person of a development ceremony.
fn roster(operator: &FileSigner) -> Result<Sealed<Roster>, Failure> {
    let developer = Person {
        name: "developer".parse().or_fail(Class::Internal)?,
        roles: vec![Role::Operator],
        keys: vec![operator.public_key().clone()],
    };
    let roster = Roster {
        version: 1,
        number: 1,
        previous: None,
        threshold: 1,
        people: vec![developer],
    };
    Sealed::new(roster).or_fail(Class::Internal)
}

fn plan(args: &ProvisionArgs, roster: &Digest) -> Result<LintedPlan, Failure> {
    let now = Timestamp::from_unix_seconds(SystemClock.now().unix_seconds());
    let id = CeremonyId::random().or_fail_doing(Class::Internal, "the system has no random bytes")?;
    let module = quoted(&args.module.display().to_string());
    let (label, algorithm) = (quoted(&args.label), args.algorithm.name());
    let unsaid: &[&str] = if TokenFolder::from_environment().is_some() {
        &[]
    } else {
        &UNSAID
    };
    let (from, until) = (now.saturating_sub(BACKDATING), now.saturating_add(DAY));
    let (root_end, issuer_end) = (now.saturating_add(ROOT_LIFE), now.saturating_add(ISSUER_LIFE));
    let text = format!(
        r#"version = 1
ceremony = "{id}"
title = "The CA of a development home"
rehearsal = true
not_before = "{from}"
not_after = "{until}"
roster = "{roster}"

[module]
path = {module}

[[tokens]]
name = "home"
label = {label}
initialize = true
accept_not_reported = {unsaid:?}

[[steps]]
kind = "key"
name = "root-key"
token = "home"
label = "root"
algorithm = "{algorithm}"

[[steps]]
kind = "root"
name = "root-ca"
key = "root-key"
[steps.profile]
organization = "Sealwright"
common_name = "Development Root"
not_before = "{from}"
not_after = "{root_end}"
path_length = 1

[[steps]]
kind = "key"
name = "issuing-key"
token = "home"
label = "issuing"
algorithm = "{algorithm}"

[[steps]]
kind = "key"
name = "health-key"
token = "home"
label = "health"
algorithm = "p256"
purpose = "health"

[[steps]]
kind = "intermediate"
name = "issuing-ca"
key = "issuing-key"
issuer = "root-ca"
[steps.profile]
organization = "Sealwright"
common_name = "Development Issuing CA"
not_before = "{from}"
not_after = "{issuer_end}"
path_length = 0

[issuer]
name = "default"
certificate = "issuing-ca"
health_key = "health-key"
policies = ["baseline"]
"#
    );
    LintedPlan::read(&text).or_fail(Class::Internal)
}

/// There is no room: nothing is asked, and PINs are in the home.
struct Nobody<'a> {
    home: &'a Home,
}

impl Room for Nobody<'_> {
    fn say(&mut self, _line: &str) {}

    fn go(&mut self, _what: &str) -> Result<(), Error> {
        Ok(())
    }

    fn confirm(&mut self, _what: &str, _digest: &Digest) -> Result<String, Error> {
        Ok("not asked, in a rehearsal".to_owned())
    }

    fn attest(&mut self, _what: &str) -> Result<String, Error> {
        Ok("not asked, in a rehearsal".to_owned())
    }

    fn opened(&mut self, what: &str, _digest: &Digest, _again: bool) -> Result<String, Error> {
        Err(Error::NotConfirmed(what.to_owned()))
    }

    fn remarks(&mut self) -> Result<Vec<String>, Error> {
        Ok(Vec::new())
    }

    fn pin(&mut self, token: &str, whose: PinFor, _parts: u64) -> Result<Pin, Error> {
        let file = match whose {
            PinFor::User => self.home.pin(),
            PinFor::SecurityOfficer => self.home.so_pin(),
        };
        PinSource::File(file).read(token).map_err(|source| Error::Pin {
            token: token.to_owned(),
            source,
        })
    }
}
