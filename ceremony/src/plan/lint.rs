//! What a plan may not say, and what its readers should think about.

mod crossed;
mod hands;
mod warnings;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use sealwright_identity::{KeyType, Timestamp};
use sealwright_statement::policy::Name;

pub use self::warnings::Warning;
pub(super) use self::warnings::warnings;
use super::{
    ApproverRosterStep, Attestation, CertificateStep, Custody, InventoryStep, KeyStep, Plan, Profile,
    Purpose, RootStep, Step,
};

const DAY: Duration = Duration::from_secs(86_400);
/// The longest window in which a plan may run.
const MAX_WINDOW: Duration = DAY.saturating_mul(30);
/// The longest validity of a root, and of what is below one.
const MAX_ROOT: Duration = DAY.saturating_mul(25 * 366);
const MAX_INTERMEDIATE: Duration = DAY.saturating_mul(8 * 366);
/// A label's room in a token (PKCS#11, `CK_TOKEN_INFO`).
const TOKEN_LABEL: usize = 32;
const MAX_TEXT: usize = 64;
const MAX_STEPS: usize = 64;

type Problem = Option<(&'static str, String)>;

impl Plan {
    pub(crate) fn problem(&self) -> Problem {
        self.frame()
            .or_else(|| self.tokens_problem())
            .or_else(|| self.steps_problem())
            .or_else(|| self.issuer_problem())
    }

    fn frame(&self) -> Problem {
        if self.version != 1 {
            return Some(("version", "this release reads version 1".to_owned()));
        }
        if let problem @ Some(_) = text_problem("title", &self.title, 200) {
            return problem;
        }
        let window = self.not_after.saturating_since(self.not_before);
        if self.not_after <= self.not_before || window > MAX_WINDOW {
            return Some((
                "not_after",
                "a plan's window is not empty and at most 30 days".to_owned(),
            ));
        }
        if self.module.digest.is_none() && !self.rehearsal {
            return Some((
                "module",
                "its `digest` is missing, which only a rehearsal may leave out".to_owned(),
            ));
        }
        None
    }

    fn tokens_problem(&self) -> Problem {
        let mut seen = BTreeSet::new();
        for token in &self.tokens {
            if !seen.insert(&token.name) {
                return Some(("tokens", format!("{} is there twice", token.name)));
            }
            if let problem @ Some(_) = text_problem("label", &token.label, TOKEN_LABEL) {
                return problem;
            }
            if token.serial.is_some() == token.initialize {
                return Some((
                    "serial",
                    format!(
                        "the token {} needs its `serial`, or `initialize = true` and no serial yet",
                        token.name
                    ),
                ));
            }
            if !(1..=8).contains(&token.pin_parts) {
                return Some(("pin_parts", format!("the token {} needs 1 to 8", token.name)));
            }
            if let problem @ Some(_) = hands::quorum_problem(token) {
                return problem;
            }
        }
        let labels: BTreeSet<_> = self.tokens.iter().map(|token| &token.label).collect();
        (labels.len() < self.tokens.len()).then(|| ("tokens", "two have the same label".to_owned()))
    }

    fn steps_problem(&self) -> Problem {
        if self.steps.is_empty() || self.steps.len() > MAX_STEPS {
            return Some(("steps", format!("there are none, or more than {MAX_STEPS}")));
        }
        let mut done: BTreeMap<&Name, &Step> = BTreeMap::new();
        let mut certified = BTreeSet::new();
        for step in &self.steps {
            let problem = match step {
                Step::Key(key) => self.key_problem(key),
                Step::Root(root) => {
                    certifies(&root.key, &done, &mut certified).or_else(|| root_problem(root))
                }
                Step::Intermediate(intermediate) => certifies(&intermediate.key, &done, &mut certified)
                    .or_else(|| intermediate_problem(intermediate, &done)),
                Step::CrossCertificate(cross) => {
                    for_certificates(&cross.key, &done).or_else(|| self.crossed_problem(cross))
                }
                Step::Csr(csr) => uses_key(&csr.key, &done)
                    .or_else(|| text_problem("common_name", &csr.common_name, MAX_TEXT)),
                Step::ImportCertificate(import) => self.token(&import.token).map_or_else(
                    || Some(("token", format!("there is no token {}", import.token))),
                    |_| {
                        hex::decode(&import.id)
                            .is_err()
                            .then(|| ("id", "it is not hexadecimal digits".to_owned()))
                    },
                ),
                Step::ApproverRoster(step) => roster_problem(step),
                Step::Inventory(step) => self.inventory_problem(step),
                Step::Checkpoint(_) => None,
            };
            if let Some((key, problem)) = problem {
                return Some((key, format!("step {}: {problem}", step.name())));
            }
            if let Some(bearer) = bearer(step.name().as_str()) {
                let problem = format!("{} is no name of a step: {bearer}", step.name());
                return Some(("steps", problem));
            }
            if done.insert(step.name(), step).is_some() {
                return Some(("steps", format!("{} is there twice", step.name())));
            }
        }
        None
    }

    fn key_problem(&self, key: &KeyStep) -> Problem {
        let Some(token) = self.token(&key.token) else {
            return Some(("token", format!("there is no token {}", key.token)));
        };
        if key.custody == Custody::Wrapped {
            return Some((
                "custody",
                "wrapped keys are not made by this release: use hsm-only or vendor-clone".to_owned(),
            ));
        }
        let supported = matches!(
            key.algorithm,
            KeyType::P256 | KeyType::P384 | KeyType::Ed25519 | KeyType::MlDsa65 | KeyType::Rsa(3072 | 4096)
        );
        if !supported {
            return Some((
                "algorithm",
                format!(
                    "{} is not made for a CA: p256, p384, rsa3072, rsa4096, ed25519 and ml-dsa-65 are",
                    key.algorithm
                ),
            ));
        }
        if key.algorithm == KeyType::MlDsa65 && key.purpose != Purpose::Issuing {
            return Some((
                "algorithm",
                "ml-dsa-65 is for certificates only: health and checkpoint keys are p256, for instance"
                    .to_owned(),
            ));
        }
        let same = |other: &&KeyStep| other.token == token.name && other.label == key.label;
        if self.keys().filter(same).count() > 1 {
            return Some(("label", "another key of the token has it".to_owned()));
        }
        let attestation = key.attestation.problem().or_else(|| self.attested_twice(key));
        attestation.or_else(|| text_problem("label", &key.label, MAX_TEXT))
    }

    /// One file speaks of one key.
    fn attested_twice(&self, key: &KeyStep) -> Problem {
        let Attestation::File(path) = &key.attestation else {
            return None;
        };
        let same = self.keys().filter(|other| other.attestation == key.attestation);
        (same.count() > 1).then(|| ("attestation", format!("{path:?} is another key's, too")))
    }

    fn inventory_problem(&self, step: &InventoryStep) -> Problem {
        if let Some(token) = step.tokens.iter().find(|token| self.token(token).is_none()) {
            return Some(("tokens", format!("there is no token {token}")));
        }
        let tokens: BTreeSet<_> = step.tokens.iter().collect();
        let transcripts: BTreeSet<_> = step.transcripts.iter().collect();
        let twice = tokens.len() < step.tokens.len() || transcripts.len() < step.transcripts.len();
        twice.then(|| ("tokens", "a token or a transcript is there twice".to_owned()))
    }

    fn issuer_problem(&self) -> Problem {
        let issuer = self.issuer.as_ref()?;
        let certified = match self.step(&issuer.certificate) {
            Some(Step::Intermediate(step)) => Some(&step.key),
            Some(Step::Root(step)) => Some(&step.key),
            Some(Step::CrossCertificate(step)) => Some(&step.key),
            Some(Step::ImportCertificate(_)) => None,
            _ => {
                return Some((
                    "issuer",
                    format!("{} is no step with a certificate", issuer.certificate),
                ));
            }
        };
        let key = certified.and_then(|key| self.key(key));
        if key.is_some_and(|key| key.algorithm == KeyType::MlDsa65) {
            return Some((
                "issuer",
                format!(
                    "{} has an ml-dsa-65 key, with which no leaf is signed: name a CA below it whose key is p256 or p384",
                    issuer.certificate
                ),
            ));
        }
        let health = issuer.health_key.as_ref()?;
        let good = self.key(health).is_some_and(|key| key.purpose == Purpose::Health);
        (!good).then(|| {
            (
                "issuer",
                format!("{health} is no step that makes a key with `purpose = \"health\"`"),
            )
        })
    }
}

fn roster_problem(step: &ApproverRosterStep) -> Problem {
    let roster = match step.read() {
        Ok(roster) => roster.statement,
        Err(error) => return Some(("roster", crate::transcript::chain(&error))),
    };
    (roster.threshold == 0 || roster.previous.is_some()).then(|| {
        (
            "roster",
            "it is not the first one, or nobody would have to agree by it".to_owned(),
        )
    })
}

fn certifies<'a>(
    key: &'a Name,
    done: &BTreeMap<&Name, &Step>,
    certified: &mut BTreeSet<&'a Name>,
) -> Problem {
    if let problem @ Some(_) = for_certificates(key, done) {
        return problem;
    }
    (!certified.insert(key)).then(|| ("key", format!("{key} has a certificate already")))
}

fn for_certificates(key: &Name, done: &BTreeMap<&Name, &Step>) -> Problem {
    match done.get(key) {
        Some(Step::Key(step)) if step.purpose != Purpose::Issuing => {
            Some(("key", format!("{key} is not for certificates, by its `purpose`")))
        }
        _ => uses_key(key, done),
    }
}

fn uses_key(key: &Name, done: &BTreeMap<&Name, &Step>) -> Problem {
    match done.get(key) {
        Some(Step::Key(_)) => None,
        _ => Some(("key", format!("no step before makes the key {key}"))),
    }
}

fn root_problem(root: &RootStep) -> Problem {
    if !root.profile.crl_urls.is_empty() || !root.profile.issuer_urls.is_empty() {
        return Some((
            "profile",
            "a root has no issuer's URLs: its CRL and certificate are named by what it signs".to_owned(),
        ));
    }
    profile_problem(&root.profile, MAX_ROOT)
}

fn intermediate_problem(step: &CertificateStep, done: &BTreeMap<&Name, &Step>) -> Problem {
    let issuer = match done.get(&step.issuer) {
        Some(Step::Root(root)) => &root.profile,
        Some(Step::Intermediate(other)) => &other.profile,
        Some(Step::CrossCertificate(other)) => &other.profile,
        _ => {
            return Some(("issuer", format!("no step before makes the CA {}", step.issuer)));
        }
    };
    let profile = &step.profile;
    if profile.not_before < issuer.not_before || profile.not_after > issuer.not_after {
        return Some((
            "not_after",
            "it is not valid inside its issuer's validity".to_owned(),
        ));
    }
    if !fits(issuer.path_length, profile.path_length) {
        return Some((
            "path_length",
            "it is missing, or not below its issuer's".to_owned(),
        ));
    }
    profile_problem(profile, MAX_INTERMEDIATE)
}

/// Whether a path length may stand below another.
fn fits(above: Option<u8>, below: Option<u8>) -> bool {
    match (above, below) {
        (None, _) => true,
        (Some(above), Some(below)) => below < above,
        (Some(_), None) => false,
    }
}

fn profile_problem(profile: &Profile, longest: Duration) -> Problem {
    let (from, to) = (profile.not_before, profile.not_after);
    let whole = |at: Timestamp| at == at.truncated_to_seconds() && at.unix_seconds() > 0;
    if to <= from || !whole(from) || !whole(to) {
        return Some((
            "not_after",
            "a validity is from a whole second to a later one".to_owned(),
        ));
    }
    if to.saturating_since(from) > longest {
        let years = longest.as_secs() / 86_400 / 366;
        return Some(("not_after", format!("it is valid for more than {years} years")));
    }
    for url in profile.crl_urls.iter().chain(&profile.issuer_urls) {
        if !url.starts_with("http://") || !url.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Some((
                "profile",
                format!("{url:?} is no http:// URL, as verifiers follow no other"),
            ));
        }
    }
    let organization = profile.organization.as_deref();
    organization
        .and_then(|organization| text_problem("organization", organization, MAX_TEXT))
        .or_else(|| text_problem("common_name", &profile.common_name, MAX_TEXT))
}

fn text_problem(key: &'static str, text: &str, longest: usize) -> Problem {
    let odd = text.trim() != text || text.chars().any(char::is_control);
    (text.is_empty() || text.len() > longest || odd).then(|| {
        (
            key,
            format!("it is empty, longer than {longest} bytes, or has odd characters in it"),
        )
    })
}

/// Who has a name already that a step would bear: its events would not be told from theirs.
fn bearer(step: &str) -> Option<&'static str> {
    match step {
        "." | ".." => Some("folders are called so"),
        "begin" | "closing" | "notes" => Some("a part of every transcript is called so"),
        _ if step.starts_with("session-") || step.starts_with("token-") => {
            Some("a transcript's part for a start or a token is called so")
        }
        _ => None,
    }
}
