//! Keys: made, read back, and seen to sign.

use sealwright_hsm::Signable;
use sealwright_hsm::ceremony::{KeyOrder, PairCount, mechanism_name};
use sealwright_identity::{Digest, KeyType};
use sealwright_statement::policy::Name;
use sealwright_x509::name::authority_name;
use sealwright_x509::spki::SpkiRef;
use sealwright_x509::verify::Verifier;
use sealwright_x509::{RequestFields, RequestTbs, SignatureAlgorithm};
use serde::{Deserialize, Serialize};

use super::attestation::Attested;
use super::{Draw, Hex, Run, officer};
use crate::attributes::{self, Ordered, PairReport};
use crate::chain::MadeKey;
use crate::error::Error;
use crate::journal::Attempt;
use crate::openssl::Question;
use crate::plan::{Custody, KeyStep, Purpose};

/// Octets of a `CKA_ID`.
const ID: u32 = 16;

/// What is about to be made.
#[derive(Serialize)]
struct ToMake<'a> {
    token: &'a Name,
    label: &'a str,
    id: &'a Hex,
    algorithm: KeyType,
    mechanism: String,
    /// `CKA_ALLOWED_MECHANISMS`.
    allowed_mechanisms: Option<String>,
}

/// Whether it was made.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
enum Making {
    Made,
    /// The token does not know an attribute of the template.
    Refused(String),
}

/// What there is to say of a key.
#[derive(Serialize)]
struct KeyFact<'a> {
    purpose: Purpose,
    custody: Custody,
    algorithm: KeyType,
    spki: Digest,
    not_reported: &'a [String],
    #[serde(flatten)]
    attestation: &'a Attested,
}

impl Run<'_> {
    pub(super) fn key(&mut self, step: &KeyStep) -> Result<(), Error> {
        let name = step.name.as_str();
        let draw = Draw {
            token: &step.token,
            octets: ID,
            of: "CKA_ID",
        };
        let officers = &self.officers;
        if !self.journal.has(name, "C_GenerateRandom") {
            self.not_attested_yet(step)?;
        }
        let id: Hex = self.journal.perform(name, "C_GenerateRandom", &draw, |_| {
            let officer = officer(officers, &step.token)?;
            officer.random(ID).map(Hex).map_err(Error::token("drawing an id"))
        })?;
        if u32::try_from(id.0.len()) != Ok(ID) {
            return Err(Error::check(name, "the token drew an id of another length"));
        }
        let what = format!(
            "make the {} key {:?} in the token {}",
            step.algorithm, step.label, step.token
        );
        self.go(name, "C_GenerateKeyPair", &what)?;
        self.destroy_half_made(step, &id)?;
        let restricted = match self.generate(step, &id, true)? {
            Making::Made => true,
            Making::Refused(_) => match self.generate(step, &id, false)? {
                Making::Made => false,
                Making::Refused(rv) => {
                    return Err(Error::State(format!(
                        "the token refuses to make the key {name}: {rv}"
                    )));
                }
            },
        };
        let key = self.read_back(step, id.0, restricted)?;
        self.possess(&key)?;
        self.keys.insert(step.name.clone(), key);
        Ok(())
    }

    fn generate(&mut self, step: &KeyStep, id: &Hex, restrict: bool) -> Result<Making, Error> {
        let (mechanism, signature) = mechanism_name(step.algorithm).unwrap_or_default();
        let intent = ToMake {
            token: &step.token,
            label: &step.label,
            id,
            algorithm: step.algorithm,
            mechanism,
            allowed_mechanisms: restrict.then_some(signature),
        };
        let order = KeyOrder {
            label: step.label.clone(),
            id: id.0.clone(),
            key_type: step.algorithm,
            restrict,
        };
        let call = if restrict {
            "C_GenerateKeyPair"
        } else {
            "C_GenerateKeyPair/unrestricted"
        };
        let officers = &self.officers;
        self.journal.perform(step.name.as_str(), call, &intent, |attempt| {
            let officer = officer(officers, &step.token)?;
            let found = officer
                .count(None, Some(&order.id))
                .map_err(Error::token("looking for the key's id"))?;
            match (attempt, found) {
                (_, PairCount { private: 0, public: 0 }) => {}
                (Attempt::Again, PairCount { private: 1, public: 1 }) => return Ok(Making::Made),
                (_, PairCount { private, public }) => {
                    return Err(Error::State(format!(
                        "the token {} has {private} private and {public} public keys with the id {} of the key \
                         {}: the pair is half-made; --resume --destroy {} destroys it, after asking",
                        step.token,
                        hex::encode(&order.id),
                        step.name,
                        step.name
                    )));
                }
            }
            match officer.generate(&order) {
                Ok(()) => Ok(Making::Made),
                Err(error) => match error.return_value() {
                    Some(rv @ ("CKR_ATTRIBUTE_TYPE_INVALID" | "CKR_TEMPLATE_INCONSISTENT")) if restrict => {
                        Ok(Making::Refused(rv.to_owned()))
                    }
                    _ => Err(Error::token(format!("making the key {}", step.name))(error)),
                },
            }
        })
    }

    /// Every attribute is read back and asserted; nothing is taken for granted because it was asked for.
    fn read_back(&mut self, step: &KeyStep, id: Vec<u8>, restricted: bool) -> Result<MadeKey, Error> {
        let name = step.name.as_str();
        let officers = &self.officers;
        let report: PairReport = self.journal.observe(name, "C_GetAttributeValue", || {
            let officer = officer(officers, &step.token)?;
            let (private, public) = officer
                .read_pair(&step.label, &id)
                .map_err(Error::token(format!("reading the key {name} back")))?;
            Ok(PairReport { private, public })
        })?;
        let spki: Hex = self.journal.observe(name, "public-key", || {
            let key = officer(officers, &step.token)?.key(&step.label, &id);
            let key = key.map_err(Error::token(format!("finding the key {name}")))?;
            Ok(Hex(key.spki_der().to_vec()))
        })?;
        let accept = self.plan.token(&step.token);
        let ordered = Ordered {
            label: &step.label,
            id: &id,
            key_type: step.algorithm,
            custody: step.custody,
            restricted,
            spki: &spki.0,
            accept_not_reported: accept.map_or(&[], |token| &token.accept_not_reported),
        };
        let mut not_reported =
            attributes::check(&report, &ordered).map_err(|deviations| Error::Attributes {
                step: name.to_owned(),
                deviations,
            })?;
        let public = SpkiRef::parse(&spki.0).map_err(|error| Error::check(name, error))?;
        if public.key_type() != step.algorithm {
            return Err(Error::check(name, "the public key is of another kind"));
        }
        // Reads the point, and refuses one that is not on its curve.
        Verifier::new(&public, SignatureAlgorithm::for_ca_key(step.algorithm))
            .map_err(|error| Error::check(name, error))?;
        let attestation = self.attest(step, &id, &mut not_reported)?;
        let fact = KeyFact {
            purpose: step.purpose,
            custody: step.custody,
            algorithm: step.algorithm,
            spki: public.digest(),
            not_reported: &not_reported,
            attestation: &attestation,
        };
        self.journal.fact(name, "key", &fact)?;
        if !not_reported.is_empty() {
            self.say(&format!("not reported by the token: {}", not_reported.join(", ")));
        }
        self.say(&format!("ATTESTATION {}", attestation.attestation));
        self.say(&format!("public key {}", public.digest()));
        Ok(MadeKey {
            name: step.name.clone(),
            token: step.token.clone(),
            label: step.label.clone(),
            id,
            key_type: step.algorithm,
            spki: spki.0,
        })
    }

    /// Proof of possession: a request that holds the plan's digest, verified by two implementations.
    fn possess(&mut self, key: &MadeKey) -> Result<(), Error> {
        let name = key.name.as_str();
        let plan = self.approved.plan().digest();
        let der = self.confirm((name, "C_Sign/possession"), key, &plan)?;
        let question = Question::Request {
            der: &der,
            key_type: key.key_type,
        };
        self.second(name, "openssl/possession", &question)?;
        self.possession.insert(key.name.clone(), der);
        Ok(())
    }

    /// A request of a key whose attribute holds a digest.
    pub(super) fn confirm(
        &mut self,
        at: (&str, &str),
        key: &MadeKey,
        digest: &Digest,
    ) -> Result<Vec<u8>, Error> {
        let fields = RequestFields {
            subject_der: authority_name(Some("Sealwright key ceremony"), key.name.as_str()),
            spki_der: key.spki.clone(),
            sans: Vec::new(),
            signature_algorithm: SignatureAlgorithm::for_ca_key(key.key_type),
        };
        let tbs = RequestTbs::build_confirming(&fields, digest).map_err(|error| Error::check(at.0, error))?;
        let signature = self.sign(at, key, &Signable::CertificationRequest(tbs.clone()))?;
        Ok(tbs.assemble(&signature))
    }
}
