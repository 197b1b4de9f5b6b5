//! CA certificates: built, signed by a throwaway key and linted, signed by the token over the same bytes, linted and
//! validated.

use sealwright_hsm::Signable;
use sealwright_identity::{Digest, SerialNumber, Timestamp, Validity};
use sealwright_x509::name::authority_name;
use sealwright_x509::{
    AuthorityExtensions, AuthorityFields, AuthorityTbs, SignatureAlgorithm, lint_authority,
};
use serde::{Deserialize, Serialize};

use super::{Draw, Hex, Run, officer};
use crate::chain::{MadeCertificate, MadeKey};
use crate::error::Error;
use crate::openssl::Question;
use crate::plan::{CertificateStep, Profile, RootStep};
use crate::throwaway;

/// Octets of a serial number: 159 random bits, positive.
const SERIAL: u32 = 20;

/// The bytes that are going to be signed.
#[derive(Serialize)]
struct ToBeSigned {
    der: Hex,
    digest: Digest,
}

/// Them, signed by a key that nobody has any more.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Linted {
    throwaway_key: Hex,
    signature: Hex,
}

#[derive(Serialize)]
struct CertificateFact {
    serial: SerialNumber,
    certificate: Digest,
    spki: Digest,
    not_before: Timestamp,
    not_after: Timestamp,
}

/// Whose signature it gets.
pub(super) struct Issuer {
    pub(super) key: MadeKey,
    pub(super) name_der: Vec<u8>,
    pub(super) ski: Option<Vec<u8>>,
    /// The certificates above the new one.
    pub(super) parents: Vec<Vec<u8>>,
}

impl Run<'_> {
    pub(super) fn root(&mut self, step: &RootStep) -> Result<(), Error> {
        let key = self.made_key(&step.key)?;
        let issuer = Issuer {
            name_der: name(&step.profile),
            ski: None,
            parents: Vec::new(),
            key: key.clone(),
        };
        self.certify(&step.name, &key, &issuer, &step.profile)
    }

    pub(super) fn intermediate(&mut self, step: &CertificateStep) -> Result<(), Error> {
        let key = self.made_key(&step.key)?;
        let above = self.certificates.get(&step.issuer);
        let above = above.and_then(|above| Some((above, above.built.as_ref()?)));
        let Some((above, built)) = above else {
            return Err(Error::Internal(format!("{} is not made yet", step.issuer)));
        };
        let mut parents = vec![above.der.clone()];
        parents.extend(above.parents.iter().cloned());
        let issuer = Issuer {
            name_der: built.fields().subject_der.clone(),
            ski: Some(built.ski().to_vec()),
            parents,
            key: above.key.clone(),
        };
        self.certify(&step.name, &key, &issuer, &step.profile)
    }

    pub(super) fn certify(
        &mut self,
        step: &sealwright_statement::policy::Name,
        key: &MadeKey,
        issuer: &Issuer,
        profile: &Profile,
    ) -> Result<(), Error> {
        let name = step.as_str();
        let serial = self.draw_serial(name, &issuer.key)?;
        let tbs = self.build(name, key, issuer, profile, &serial)?;
        self.journal.fact(
            name,
            "to-be-signed",
            &ToBeSigned {
                der: Hex(tbs.as_der().to_vec()),
                digest: Digest::of(tbs.as_der()),
            },
        )?;
        let lint = |when, der: &[u8], spki: &[u8]| {
            lint_authority(der, &tbs, spki).map_err(|findings| Error::Lint {
                when,
                step: name.to_owned(),
                findings,
            })
        };
        let linted: Linted = self.journal.observe(name, "throwaway-signature", || {
            let signed = throwaway::sign(issuer.key.key_type, tbs.as_der())?;
            Ok(Linted {
                throwaway_key: Hex(signed.spki),
                signature: Hex(signed.signature),
            })
        })?;
        lint(
            "before it is signed",
            &tbs.assemble(&linted.signature.0),
            &linted.throwaway_key.0,
        )?;
        let what = format!(
            "sign the certificate {name} ({}) with the key {}",
            profile.common_name, issuer.key.name
        );
        self.go(name, "C_Sign", &what)?;
        let signature = self.sign((name, "C_Sign"), &issuer.key, &Signable::Authority(tbs.clone()))?;
        let der = tbs.assemble(&signature);
        lint("after it was signed", &der, &issuer.key.spki)?;
        let made = MadeCertificate {
            name: step.clone(),
            der,
            parents: issuer.parents.clone(),
            built: Some(tbs),
            key: key.clone(),
        };
        made.validate(profile.not_before)?;
        let question = Question::Path {
            der: &made.der,
            parents: &made.parents,
            at: profile.not_before,
        };
        self.second(name, "openssl", &question)?;
        self.journal.fact(
            name,
            "certificate",
            &CertificateFact {
                serial,
                certificate: Digest::of(&made.der),
                spki: Digest::of(&key.spki),
                not_before: profile.not_before,
                not_after: profile.not_after,
            },
        )?;
        self.say(&format!("certificate {name}: {}", Digest::of(&made.der)));
        self.certificates.insert(step.clone(), made);
        Ok(())
    }

    fn draw_serial(&mut self, name: &str, key: &MadeKey) -> Result<SerialNumber, Error> {
        let officers = &self.officers;
        let draw = Draw {
            token: &key.token,
            octets: SERIAL,
            of: "serial number",
        };
        let Hex(mut octets) = self.journal.perform(name, "C_GenerateRandom", &draw, |_| {
            let officer = officer(officers, &key.token)?;
            let octets = officer.random(SERIAL);
            octets.map(Hex).map_err(Error::token("drawing a serial number"))
        })?;
        if u32::try_from(octets.len()) != Ok(SERIAL) {
            return Err(Error::check(
                name,
                "the token drew a serial number of another length",
            ));
        }
        if let Some(first) = octets.first_mut() {
            // The sign bit off makes it positive, the next on minimal.
            *first = (*first & 0x7f) | 0x40;
        }
        SerialNumber::from_der_content(&octets).map_err(|error| Error::check(name, error))
    }

    fn build(
        &self,
        step: &str,
        key: &MadeKey,
        issuer: &Issuer,
        profile: &Profile,
        serial: &SerialNumber,
    ) -> Result<AuthorityTbs, Error> {
        let fields = AuthorityFields {
            serial: serial.clone(),
            subject_der: name(profile),
            issuer_der: issuer.name_der.clone(),
            validity: Validity::new(profile.not_before, profile.not_after)
                .map_err(|error| Error::check(step, error))?,
            spki_der: key.spki.clone(),
            path_len: profile.path_length,
            aki: issuer.ski.clone(),
            signature_algorithm: SignatureAlgorithm::for_ca_key(issuer.key.key_type),
        };
        let more = AuthorityExtensions {
            crl_urls: profile.crl_urls.clone(),
            issuer_urls: profile.issuer_urls.clone(),
            rehearsal: self.plan.rehearsal.then(|| *self.plan.ceremony.as_bytes()),
        };
        AuthorityTbs::build_with(&fields, &more).map_err(|error| Error::check(step, error))
    }
}

fn name(profile: &Profile) -> Vec<u8> {
    authority_name(profile.organization.as_deref(), &profile.common_name)
}
