//! Policies that decide: the stock one, several together, and those that misbehave.

use std::{collections::BTreeMap, path::Path};

use der::{Decode as _, oid::db::rfc5280::ID_KP_SERVER_AUTH};
use prost_types::{Struct, Value, value::Kind};
use sealwright_tests::{Client, Csr, Home, Signer, client::request, csr};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;
use x509_cert::{
    Certificate,
    ext::pkix::{ExtendedKeyUsage, SubjectAltName},
};

pub(crate) const HOSTILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../.build/guests/hostile.wasm");
pub(crate) const BASELINE: &str = "policies/baseline.wasm";

/// Backdating, which a lifetime does not count.
const BACKDATING: u64 = 120;

pub(crate) fn policy(name: &str, module: &str, settings: &str) -> String {
    format!("[[policies]]\nname = {name:?}\nmodule = {module:?}\nsettings = {settings}\n")
}

fn hostile(name: &str) -> String {
    policy(name, HOSTILE, &format!("{{ decide = {name:?} }}"))
}

fn baseline(name: &str, rest: &str) -> String {
    let settings = format!("{{ trust_domains = [\"cluster.local\"], {rest} }}");
    policy(name, BASELINE, &settings)
}

/// An issuer with the home's own key.
fn issuer(name: &str, policies: &[&str]) -> String {
    format!(
        "[[issuers]]\nname = {name:?}\nkey = \"pkcs11:object=issuing\"\nchain = \"issuer-chain.pem\"\n\
         roots = \"roots.pem\"\nrehearsal = true\npolicies = {policies:?}\n"
    )
}

/// Asks one of a signer's issuers for a day.
async fn ask(signer: &Signer, issuer: &str, (namespace, account): (&str, &str), csr: &Csr) -> Answer {
    let mut message = request(&csr.pem, 86_400);
    let value = Value {
        kind: Some(Kind::StringValue(issuer.to_owned())),
    };
    message.metadata = Some(Struct {
        fields: BTreeMap::from([("CertSigner".to_owned(), value)]),
    });
    let bearer = format!("Bearer {}", signer.token(namespace, account));
    let client = Client::connect(signer).await;
    client.create_with(&[("authorization", &bearer)], message).await
}

type Answer = Result<Vec<String>, Status>;

const WEB: (&str, &str) = ("default", "web");

fn csr() -> Csr {
    Csr::ztunnel("spiffe://cluster.local/ns/default/sa/web")
}

fn certificate(answer: &Answer) -> Certificate {
    let chain = answer.as_ref().unwrap();
    let (_, der) = der::pem::decode_vec(chain[0].as_bytes()).unwrap();
    Certificate::from_der(&der).unwrap()
}

fn seconds(certificate: &Certificate) -> u64 {
    let validity = certificate.tbs_certificate().validity();
    let (from, to) = (validity.not_before, validity.not_after);
    to.to_unix_duration().as_secs() - from.to_unix_duration().as_secs() - BACKDATING
}

/// What a misbehaving guest does, and the code of the denial.
const DEEDS: [(&str, &str); 10] = [
    ("loop", "POLICY_FUEL"),
    ("recurse", "POLICY_TRAP"),
    ("panic", "POLICY_TRAP"),
    ("grow", "GREW"),
    ("allocate", "POLICY_TRAP"),
    ("huge", "POLICY_OUTPUT"),
    ("flood-lines", "POLICY_LOG"),
    ("flood-bytes", "POLICY_LOG"),
    ("name", "POLICY_WIDENS"),
    ("lifetime", "POLICY_WIDENS"),
];

#[tokio::test]
async fn a_policy_that_misbehaves_denies_and_the_next_request_is_served() {
    let home = Home::new();
    for (deed, _) in DEEDS {
        home.append(&hostile(deed)).append(&issuer(deed, &[deed]));
    }
    let signer = home.start();
    for (deed, code) in DEEDS {
        let status = ask(&signer, deed, WEB, &csr()).await.unwrap_err();
        assert_eq!(status.code(), Code::PermissionDenied, "{deed}: {status}");
        let details = status.get_error_details();
        let info = details.error_info().unwrap();
        assert_eq!(
            (info.domain.as_str(), info.reason.as_str()),
            ("sealwright", code),
            "{deed}"
        );
        assert_eq!(info.metadata["policy"], deed);
        let row = signer.log_list(&[]).pop().unwrap();
        assert_eq!(row["outcome"], "denied", "{deed}: {row}");
        assert!(row["serial"].is_null());
        assert_eq!(row["identities"][0], "spiffe://cluster.local/ns/default/sa/web");
        assert_eq!(row["policies"].as_array().unwrap().len(), 1, "{row}");
        assert_eq!(row["policies"][0]["name"], deed);
        assert_eq!(row["policies"][0]["verdict"], "deny", "{row}");
        assert!(ask(&signer, "", WEB, &csr()).await.is_ok(), "after {deed}");
    }
    assert_eq!(signer.stop(), 0);
}

#[tokio::test]
async fn a_denial_says_why_and_what_would_do() {
    let home = Home::new();
    home.append(&hostile("deny"))
        .append(&issuer("denying", &["deny"]));
    let signer = home.start();
    let status = ask(&signer, "denying", WEB, &csr()).await.unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied, "{status}");
    assert_eq!(status.message(), "NO: no");
    let details = status.get_error_details();
    let info = details.error_info().unwrap();
    for (name, value) in [("policy", "deny"), ("field", "caller"), ("hint", "go away")] {
        assert_eq!(info.metadata[name], value);
    }
    let violation = &details.bad_request().unwrap().field_violations[0];
    assert_eq!(
        (violation.field.as_str(), violation.description.as_str()),
        ("caller", "no")
    );
}

#[tokio::test]
async fn an_aborted_decision_is_no_denial() {
    let home = Home::new();
    // More fuel than a second burns: the epoch is what ends it.
    let endless = hostile("loop").replace("settings", "fuel = 1000000000000000\nsettings");
    home.append(&endless)
        .append(&issuer("endless", &["loop"]))
        .append("[policy_host]\nepoch_deadline = \"1s\"\n");
    let signer = home.start();
    let status = ask(&signer, "endless", WEB, &csr()).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
    assert!(status.get_error_details().retry_info().is_some());
    let row = signer.log_list(&[]).pop().unwrap();
    assert_eq!(row["policies"][0]["name"], "loop");
    assert_eq!(row["policies"][0]["verdict"], "aborted", "{row}");
    assert!(row["serial"].is_null());
    assert!(ask(&signer, "", WEB, &csr()).await.is_ok());
}

#[tokio::test]
async fn of_several_policies_the_first_denial_wins_and_narrowings_intersect() {
    let home = Home::new();
    for deed in ["deny", "loop", "hour", "server", "client", "allow"] {
        home.append(&hostile(deed));
    }
    let half = "lifetime_caps = [{ namespace = \"*\", max_seconds = 1800 }]";
    home.append(&baseline("half", half))
        .append(&baseline("half-b", half));
    // A set has one order for all issuers: where an issuer wants another, it has policies of its own.
    for deed in ["deny", "loop", "hour", "allow"] {
        let settings = format!("{{ decide = {deed:?} }}");
        home.append(&policy(&format!("{deed}-b"), HOSTILE, &settings));
    }
    let lists: [(&str, &[&str]); 8] = [
        ("no-first", &["deny", "loop"]),
        ("loop-first", &["loop-b", "deny-b"]),
        ("no-last", &["allow", "hour", "deny"]),
        ("apart", &["server", "client"]),
        ("none", &[]),
        ("half-hour", &["hour", "half"]),
        ("hour-half", &["half-b", "hour-b"]),
        ("server-hour", &["server", "hour", "allow-b"]),
    ];
    for (name, policies) in lists {
        home.append(&issuer(name, policies));
    }
    let signer = home.start();

    for (name, code, policy) in [
        ("no-first", "NO", Some("deny")),
        ("loop-first", "POLICY_FUEL", Some("loop-b")),
        ("no-last", "NO", Some("deny")),
        ("apart", "NOTHING_ALLOWED", None),
        ("none", "NO_POLICY", None),
    ] {
        let status = ask(&signer, name, WEB, &csr()).await.unwrap_err();
        assert_eq!(status.code(), Code::PermissionDenied, "{name}: {status}");
        let details = status.get_error_details();
        let info = details.error_info().unwrap();
        assert_eq!(info.reason, code, "{name}");
        if let Some(policy) = policy {
            assert_eq!(info.metadata["policy"], policy, "{name}");
        }
        let row = signer.log_list(&[]).pop().unwrap();
        assert_eq!(row["outcome"], "denied", "{name}: {row}");
    }

    for (name, lifetime, both_usages) in [
        ("half-hour", 1800, true),
        ("hour-half", 1800, true),
        ("server-hour", 3600, false),
    ] {
        let certificate = certificate(&ask(&signer, name, WEB, &csr()).await);
        assert_eq!(seconds(&certificate), lifetime, "{name}");
        let (_, usages): (_, ExtendedKeyUsage) =
            certificate.tbs_certificate().get_extension().unwrap().unwrap();
        assert_eq!(usages.0.len(), if both_usages { 2 } else { 1 }, "{name}");
        assert!(usages.0.contains(&ID_KP_SERVER_AUTH));
        let (_, names): (_, SubjectAltName) = certificate.tbs_certificate().get_extension().unwrap().unwrap();
        assert_eq!(names.0.len(), 1);
        let row = signer.log_list(&[]).pop().unwrap();
        assert_eq!(row["outcome"], "issued");
        let wanted = lists.iter().find(|(list, _)| *list == name).unwrap().1;
        let found: Vec<_> = row["policies"]
            .as_array()
            .unwrap()
            .iter()
            .map(|policy| &policy["name"])
            .collect();
        assert_eq!(found, *wanted, "{name}");
    }
}

#[tokio::test]
async fn the_baselines_settings_take_effect() {
    let home = Home::new();
    let settings = [
        (
            "spaces",
            "namespaces = [\"prod-*\", \"default\"], excluded_namespaces = [\"prod-x\"]",
        ),
        ("accounts", "service_accounts = [\"web*\"]"),
        ("keys", "key_types = [\"p384\"]"),
        ("renewal", "auth_sources = [\"client-certificate\"]"),
        ("tokens", "auth_sources = [\"jwt\"]"),
    ];
    for (name, rest) in settings {
        home.append(&baseline(name, rest)).append(&issuer(name, &[name]));
    }
    let caps = "lifetime_caps = [{ namespace = \"prod-*\", max_seconds = 600 }, { namespace = \"*\", max_seconds = 7200 }]";
    home.append(&baseline("caps", caps))
        .append(&issuer("caps", &["caps"]));
    let signer = home.start();

    let table = [
        ("spaces", ("default", "web"), None),
        ("spaces", ("prod-a", "web"), None),
        ("spaces", ("prod-x", "web"), Some("NAMESPACE_EXCLUDED")),
        ("spaces", ("test", "web"), Some("NAMESPACE_NOT_ALLOWED")),
        ("", ("kube-system", "web"), Some("NAMESPACE_EXCLUDED")),
        ("accounts", ("default", "web-1"), None),
        ("accounts", ("default", "db"), Some("SERVICE_ACCOUNT_NOT_ALLOWED")),
        ("keys", WEB, Some("KEY_TYPE_NOT_ALLOWED")),
        ("renewal", WEB, Some("AUTH_SOURCE_NOT_ALLOWED")),
        ("tokens", WEB, None),
    ];
    for (name, who, code) in table {
        let answer = ask(&signer, name, who, &csr()).await;
        let reason = answer.as_ref().err().map(|status| {
            assert_eq!(status.code(), Code::PermissionDenied, "{name} {who:?}: {status}");
            status.get_error_details().error_info().unwrap().reason.clone()
        });
        assert_eq!(reason.as_deref(), code, "{name} {who:?}: {answer:?}");
    }
    let p384 = Csr::pilot_agent("spiffe://cluster.local/ns/default/sa/web", csr::p384());
    assert!(ask(&signer, "keys", WEB, &p384).await.is_ok());
    for (namespace, lifetime) in [("prod-a", 600), ("default", 7200)] {
        let answer = ask(&signer, "caps", (namespace, "web"), &csr()).await;
        assert_eq!(seconds(&certificate(&answer)), lifetime, "{namespace}");
    }
}

#[test]
fn the_guests_are_built() {
    assert!(Path::new(HOSTILE).is_file(), "build them: make guests");
}
