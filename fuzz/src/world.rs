//! An installation in memory: an issuer with two policies, a moment, and one good request.
//!
//! Everything is from fixed seeds, so an input that was accepted once is accepted again.

use std::{fs, path::PathBuf, time::Duration};

use sealwright_gate::{
    config::{CeilingConfig, IssuerConfig, PolicyConfig},
    issuers::{Issuer, Issuers},
    server::Rehearsal,
};
use sealwright_identity::{
    HumanDuration, KeyType, ManualClock, San, SerialNumber, SharedClock, Timestamp, Usage, Validity,
};
use sealwright_proto::gate::{Caller, Decision, Evidence, IssueRequest, PolicyVerdict, RequestFacts};
use sealwright_x509::{
    AuthorityFields, AuthorityTbs, BACKDATING, LeafFields, LeafKind, LeafTbs, RequestFields, RequestTbs,
    SignatureAlgorithm, name, pem,
};

use crate::keys::Key;

/// The moment of every run.
pub const NOW: Timestamp = Timestamp::from_unix_seconds(1_800_000_000);
/// The trust domain.
pub const TRUST_DOMAIN: &str = "cluster.local";
/// The caller of the good request.
pub const IDENTITY: &str = "spiffe://cluster.local/ns/a/sa/b";
/// The longest lifetime of the ceiling, in seconds.
pub const MAX_LIFETIME: u64 = 7200;
/// The issuer admits callers of this authenticator only.
pub const AUTHENTICATOR: &str = "kubernetes";
const DAY: Duration = Duration::from_secs(86_400);

/// The installation.
pub struct World {
    /// What the gate judges with.
    pub rehearsal: Rehearsal,
    /// The only issuers.
    pub issuers: Issuers,
    /// The applicant's key.
    pub key: Key,
}

impl World {
    /// Makes it; its files go into a folder that is removed again.
    pub fn new() -> Self {
        let folder = std::env::temp_dir().join(format!("sealwright-fuzz-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("a temporary folder");
        let issuers = issuers(&folder);
        fs::remove_dir_all(&folder).expect("the folder is ours");
        let clock: SharedClock = std::sync::Arc::new(ManualClock::at(NOW));
        let rehearsal = Rehearsal::new(issuers.clone(), clock);
        Self {
            rehearsal,
            issuers,
            key: Key::of(3),
        }
    }

    /// The issuer.
    pub fn issuer(&self) -> &Issuer {
        self.issuers.default_issuer()
    }

    /// The applicant's request.
    pub fn csr(&self) -> Vec<u8> {
        let tbs = RequestTbs::build(&RequestFields {
            subject_der: vec![0x30, 0],
            spki_der: self.key.spki().to_vec(),
            sans: vec![identity()],
            signature_algorithm: SignatureAlgorithm::Ed25519,
        });
        let tbs = tbs.expect("a request");
        tbs.assemble(&self.key.sign(tbs.as_der()))
    }

    /// The leaf that the front would build for the applicant.
    pub fn fields(&self) -> LeafFields {
        let chain = &self.issuer().chain;
        let end = NOW.saturating_add(Duration::from_secs(3600));
        LeafFields {
            serial: SerialNumber::from_der_content(&[0x11; 20]).expect("a serial number"),
            issuer_der: chain.issuer_name_der().to_vec(),
            validity: Validity::new(NOW.saturating_sub(BACKDATING), end).expect("a validity"),
            common_name: None,
            spki_der: self.key.spki().to_vec(),
            sans: vec![identity()],
            usages: vec![Usage::ServerAuth, Usage::ClientAuth],
            aki: chain.ski().to_vec(),
            signature_algorithm: chain.signature_algorithm(),
            kind: LeafKind::Workload,
        }
    }

    /// The evidence of two policies that allow everything.
    pub fn evidence(&self) -> Evidence {
        let policies = self.issuer().policies.iter().map(|policy| PolicyVerdict {
            name: policy.name.to_string(),
            module: policy.module.to_string(),
            settings: policy.settings.to_string(),
            verdict: "allow".to_owned(),
            fuel: 1,
            ..PolicyVerdict::default()
        });
        let caller = Caller {
            source: "jwt".to_owned(),
            authenticator: AUTHENTICATOR.to_owned(),
            identities: vec![IDENTITY.to_owned()],
            ..Caller::default()
        };
        Evidence {
            request: Some(RequestFacts::default()),
            decision: Some(Decision {
                decided_at_micros: NOW.micros(),
                input: told_of(&caller).into(),
                policies: policies.collect(),
                ..Decision::default()
            }),
            caller: Some(caller),
        }
    }

    /// The whole good request.
    pub fn request(&self) -> IssueRequest {
        let tbs = LeafTbs::build(&self.fields()).expect("the profile allows it");
        IssueRequest {
            issuer: String::new(),
            tbs: tbs.as_der().to_vec().into(),
            csr: self.csr().into(),
            evidence: Some(self.evidence()),
            credential: None,
        }
    }
}

impl Default for World {
    fn default() -> Self {
        Self::new()
    }
}

/// The part of the policies' input that the gate holds against the evidence.
pub fn told_of(caller: &Caller) -> Vec<u8> {
    let told = serde_json::json!({ "caller": {
        "source": caller.source,
        "authenticator": caller.authenticator,
        "identities": caller.identities,
        "attributes": {},
        "previous_serial": null,
        "first_authenticated_at": null,
    }});
    told.to_string().into_bytes()
}

/// The name of the good request's caller.
pub fn identity() -> San {
    format!("URI:{IDENTITY}").parse().expect("a name")
}

fn issuers(folder: &std::path::Path) -> Issuers {
    let (root, issuing) = (Key::of(10), Key::of(11));
    let root_tbs = authority(&root, "Root", "Root", None, None);
    let tbs = authority(&issuing, "Issuing", "Root", Some(0), Some(root_tbs.ski()));
    let file = |name: &str, contents: Vec<u8>| -> PathBuf {
        let path = folder.join(name);
        fs::write(&path, contents).expect("a file");
        path
    };
    let certificate = |tbs: &AuthorityTbs| {
        let der = tbs.assemble(&root.sign(tbs.as_der()));
        pem::encode(pem::CERTIFICATE, &der).into_bytes()
    };
    let policies = ["first", "second"].map(|name| PolicyConfig {
        name: name.to_owned(),
        module: file(name, name.as_bytes().to_vec()),
        digest: None,
        fuel: 1_000_000,
        settings: serde_json::json!({ "a": name }),
    });
    let issuer = IssuerConfig {
        max_renewal_age: None,
        ceremony: None,
        name: "default".to_owned(),
        key: "pkcs11:object=issuing".to_owned(),
        chain: file("chain.pem", certificate(&tbs)),
        roots: file("roots.pem", certificate(&root_tbs)),
        authenticators: vec![AUTHENTICATOR.to_owned()],
        rehearsal: true,
        policies: policies.iter().map(|policy| policy.name.clone()).collect(),
        ceiling: CeilingConfig {
            default_lifetime: HumanDuration::from_secs(3600),
            max_lifetime: HumanDuration::from_secs(MAX_LIFETIME),
            key_types: vec![KeyType::P256, KeyType::Ed25519],
            dns: vec!["*.svc".parse().expect("a pattern")],
            ..CeilingConfig::default()
        },
    };
    let trust_domain = TRUST_DOMAIN.parse().expect("a trust domain");
    Issuers::load_parts(&trust_domain, "default", &[issuer], &policies, NOW).expect("a good configuration")
}

fn authority(
    key: &Key,
    subject: &str,
    issuer: &str,
    path_len: Option<u8>,
    aki: Option<&[u8]>,
) -> AuthorityTbs {
    let (begin, end) = (NOW.saturating_sub(DAY), NOW.saturating_add(DAY * 10));
    let tbs = AuthorityTbs::build(&AuthorityFields {
        serial: SerialNumber::from_der_content(&[1]).expect("a serial number"),
        subject_der: name::authority_name(Some("Fuzz"), subject),
        issuer_der: name::authority_name(Some("Fuzz"), issuer),
        validity: Validity::new(begin, end).expect("a validity"),
        spki_der: key.spki().to_vec(),
        path_len,
        aki: aki.map(<[u8]>::to_vec),
        signature_algorithm: SignatureAlgorithm::Ed25519,
    });
    tbs.expect("the profile allows it")
}
