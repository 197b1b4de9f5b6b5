//! What a plan may not say of a certificate under a CA from before.

use sealwright_x509::name::authority_name;

use super::{MAX_INTERMEDIATE, Problem, fits, profile_problem};
use crate::chain::path_holds;
use crate::older::Older;
use crate::plan::{CertificateStep, CrossStep, Plan, Profile, Step};
use crate::transcript::chain;

/// The most bytes of both names of a file below `crossed/`: an archive of the transcript holds no longer ones.
const MAX_NAMES: usize = 80;

impl Plan {
    pub(super) fn crossed_problem(&self, step: &CrossStep) -> Problem {
        if self.token(&step.token).is_none() {
            return Some(("token", format!("there is no token {}", step.token)));
        }
        let older = match Older::read(step) {
            Ok(older) => older,
            Err(error) => return Some(("older", chain(&error))),
        };
        let profile = &step.profile;
        profile_problem(profile, MAX_INTERMEDIATE)
            .or_else(|| self.older_problem(step, &older))
            .or_else(|| self.other_problem(step))
            .or_else(|| self.below_problem(step))
    }

    /// What the older CA does not allow.
    fn older_problem(&self, step: &CrossStep, older: &Older) -> Problem {
        let profile = &step.profile;
        if older.rehearsal != self.rehearsal {
            let problem = if self.rehearsal {
                "a rehearsal signs with the key of a rehearsal only: `older` is in earnest"
            } else {
                "`older` comes from a rehearsal"
            };
            return Some(("older", problem.to_owned()));
        }
        if let Err(problem) = path_holds(&older.der, &older.parents, profile.not_before) {
            return Some(("older", problem));
        }
        let validity = older.validity;
        if profile.not_before < validity.not_before() || profile.not_after > validity.not_after() {
            return Some((
                "not_after",
                "it is not valid inside the validity of `older`".to_owned(),
            ));
        }
        if !fits(older.path_length, profile.path_length) {
            return Some((
                "path_length",
                "it is missing, or not below that of `older`".to_owned(),
            ));
        }
        let subject = authority_name(profile.organization.as_deref(), &profile.common_name);
        (subject == older.subject_der).then(|| {
            (
                "common_name",
                "it is the name of `older`: verifiers could not tell the two apart".to_owned(),
            )
        })
    }

    /// What the other certificate of the key does not allow.
    fn other_problem(&self, step: &CrossStep) -> Problem {
        let others = self.steps.iter().filter_map(|other| match other {
            Step::Root(other) if other.key == step.key => Some(&other.profile),
            Step::Intermediate(other) if other.key == step.key => Some(&other.profile),
            Step::CrossCertificate(other) if other.key == step.key => Some(&other.profile),
            _ => None,
        });
        for other in others {
            let names = |profile: &Profile| (profile.organization.clone(), profile.common_name.clone());
            if names(other) != names(&step.profile) {
                return Some((
                    "common_name",
                    format!("the names are not those of the other certificate of {}", step.key),
                ));
            }
        }
        None
    }

    /// What the certificates that are reached over it need.
    fn below_problem(&self, step: &CrossStep) -> Problem {
        for (below, depth) in self.below(step) {
            if step.profile.path_length.is_some_and(|length| length < depth) {
                return Some((
                    "path_length",
                    format!("{} is {depth} below it, which needs {depth}", below.name),
                ));
            }
            let (one, other) = (&step.profile, &below.profile);
            if one.not_after <= other.not_before || other.not_after <= one.not_before {
                return Some((
                    "not_after",
                    format!("it is not valid together with {}", below.name),
                ));
            }
            if step.name.as_str().len() + below.name.as_str().len() > MAX_NAMES {
                return Some((
                    "name",
                    format!(
                        "with that of {} it is longer than {MAX_NAMES} bytes, and both name a file",
                        below.name
                    ),
                ));
            }
        }
        None
    }

    /// The intermediates below another certificate of the same key, be it a crossed one, and how far.
    fn below(&self, step: &CrossStep) -> Vec<(&CertificateStep, u8)> {
        let mut found = Vec::new();
        let intermediates = self.steps.iter().filter_map(|step| match step {
            Step::Intermediate(step) => Some(step),
            _ => None,
        });
        for intermediate in intermediates {
            let (mut issuer, mut depth) = (&intermediate.issuer, 1_u8);
            // Each issuer is a step before, so this ends; where it is not, another rule says so.
            while usize::from(depth) <= self.steps.len() {
                match self.step(issuer) {
                    Some(Step::Intermediate(above)) if above.key != step.key => issuer = &above.issuer,
                    Some(Step::Root(above)) if above.key != step.key => break,
                    Some(Step::Root(_) | Step::Intermediate(_)) => {
                        found.push((intermediate, depth));
                        break;
                    }
                    Some(Step::CrossCertificate(above))
                        if above.key == step.key && above.name != step.name =>
                    {
                        found.push((intermediate, depth));
                        break;
                    }
                    _ => break,
                }
                depth = depth.saturating_add(1);
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROFILE: &str = "common_name = \"A\"\nnot_before = \"2026-11-01T00:00:00Z\"\n\
                           not_after = \"2031-11-01T00:00:00Z\"\n";

    const BELOW: &str = "the-ca-below-the-first";

    /// A key with two certificates of CAs from before, and two CAs below the first of them.
    fn problem(cross: &str, profile: &str) -> Problem {
        let crossed = |name: &str, profile: &str| {
            format!(
                "[[steps]]\nkind = \"cross-certificate\"\nname = \"{name}\"\nkey = \"key\"\ntoken = \"t\"\n\
                 label = \"l\"\nid = \"01\"\nolder = \"\"\n[steps.profile]\n{profile}\n"
            )
        };
        let below = |name: &str, issuer: &str| {
            format!(
                "[[steps]]\nkind = \"intermediate\"\nname = \"{name}\"\nkey = \"{name}-key\"\n\
                 issuer = \"{issuer}\"\n[steps.profile]\n{PROFILE}\n"
            )
        };
        let head = format!(
            "version = 1\nceremony = \"000102030405060708090a0b0c0d0e0f\"\ntitle = \"A\"\nrehearsal = true\n\
             not_before = \"2026-11-01T00:00:00Z\"\nnot_after = \"2026-11-08T00:00:00Z\"\ntokens = []\n\
             roster = \"sha256:{}\"\n[module]\npath = \"/m\"\n",
            "0".repeat(64)
        );
        let text = [
            head,
            crossed("first", PROFILE),
            crossed(cross, profile),
            below(BELOW, "first"),
            below("two", BELOW),
        ];
        let plan: Plan = toml::from_str(&text.concat()).unwrap();
        let step = plan.steps.get(1);
        let Some(Step::CrossCertificate(step)) = step else {
            panic!("{step:?}");
        };
        plan.below_problem(step)
    }

    /// What one CA from before certifies below it is reached over every other one, too.
    #[test]
    fn what_is_below_one_cross_certificate_is_below_the_other() {
        assert_eq!(problem("second", &format!("{PROFILE}path_length = 2\n")), None);
        let long = "s".repeat(64);
        for (cross, profile, key, says) in [
            (
                "second",
                format!("{PROFILE}path_length = 0\n"),
                "path_length",
                "first is 1 below it",
            ),
            (
                "second",
                format!("{PROFILE}path_length = 1\n"),
                "path_length",
                "two is 2 below it",
            ),
            (
                "second",
                PROFILE.replace("2026", "2035").replace("2031", "2036"),
                "not_after",
                "together with the-ca",
            ),
            (long.as_str(), PROFILE.to_owned(), "name", "both name a file"),
        ] {
            let (at, problem) = problem(cross, &profile).unwrap();
            assert!(at == key && problem.contains(says), "{at}: {problem}");
        }
    }
}
