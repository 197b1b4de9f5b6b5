//! zlint over every profile. Most of its lints are of the public web's rules, which a private
//! workload PKI does not follow; what does not apply is listed here with its reason, and anything
//! else that is found fails.

use std::{fs, path::Path};

use sealwright_tests::{Csr, Issued, Signer, csr};
use serde_json::Value;

use crate::program;

const WEB: &str = "spiffe://cluster.local/ns/default/sa/web";

/// What is linted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A workload's leaf.
    Workload,
    /// A workload's leaf with an Ed25519 key.
    Ed25519,
    /// A workload's leaf that lives for decades, as no operator wants it.
    LongLived,
    /// Our own front's leaf.
    Serving,
    /// An issuing certificate.
    Issuing,
    /// A root.
    Root,
}

use Kind::{Ed25519, Issuing, LongLived, Root, Serving, Workload};

const WORKLOADS: &[Kind] = &[Workload, Ed25519, LongLived];
const LEAVES: &[Kind] = &[Workload, Ed25519, LongLived, Serving];

/// A lint of zlint that finds something, in which kinds, and why that is right.
const NOT_OURS: &[(&str, &[Kind], &str)] = &[
    (
        "e_ext_san_uniform_resource_identifier_present",
        WORKLOADS,
        "the web's certificates have DNS names and addresses alone; an X.509-SVID has a URI",
    ),
    (
        "e_dnsname_not_valid_tld",
        &[Serving],
        "names inside a cluster end in .svc, and a development signer is called localhost",
    ),
    (
        "n_san_iana_pub_suffix_empty",
        &[Serving],
        "the same: localhost is no public name",
    ),
    (
        "e_ext_san_contains_reserved_ip",
        &[Serving],
        "a development signer serves the loopback address",
    ),
    (
        "e_sub_cert_aia_missing",
        LEAVES,
        "there is no OCSP, and every answer has the whole chain: nothing is to be fetched",
    ),
    (
        "w_sub_cert_aia_does_not_contain_issuing_ca_url",
        LEAVES,
        "the same",
    ),
    ("w_sub_ca_aia_missing", &[Issuing], "the same"),
    (
        "e_sub_cert_cert_policy_empty",
        LEAVES,
        "no certificate policy is claimed: those of the CA/Browser Forum are for public trust",
    ),
    ("e_sub_cert_certificate_policies_missing", LEAVES, "the same"),
    (
        "e_algorithm_identifier_improper_encoding",
        &[Ed25519],
        "browsers' root programs know RSA and ECDSA alone; a mesh may take Ed25519 (RFC 8410) or leave it out of key_types",
    ),
    (
        "e_missing_crl_distrib_point",
        &[LongLived],
        "asked of what lives for more than days; how long is for max_lifetime to say",
    ),
    (
        "e_server_cert_valid_time_longer_than_200_days",
        &[LongLived],
        "the same",
    ),
    (
        "e_sub_cert_valid_time_longer_than_39_months",
        &[LongLived],
        "the same",
    ),
    (
        "e_sub_cert_valid_time_longer_than_825_days",
        &[LongLived],
        "the same",
    ),
    (
        "e_tls_server_cert_valid_time_longer_than_398_days",
        &[LongLived],
        "the same",
    ),
    (
        "w_server_cert_valid_time_longer_than_199_days",
        &[LongLived],
        "the same",
    ),
    (
        "w_tls_server_cert_valid_time_longer_than_397_days",
        &[LongLived],
        "the same",
    ),
    ("e_invalid_ca_certificate_policies", &[Issuing], "the same"),
    ("e_sub_ca_certificate_policies_missing", &[Issuing], "the same"),
    (
        "n_ct_sct_policy_count_unsatisfied",
        LEAVES,
        "issuance is recorded in the ledger, not in public transparency logs",
    ),
    (
        "w_ext_subject_key_identifier_not_recommended_subscriber",
        LEAVES,
        "the web's newer rules drop it to save octets; RFC 5280, section 4.2.1.2, says SHOULD",
    ),
    (
        "e_ca_country_name_missing",
        &[Issuing, Root],
        "a development CA has no country; an operator's CA has the name that its ceremony gives it",
    ),
    (
        "e_sub_ca_crl_distribution_points_missing",
        &[Issuing],
        "a development CA issues no CRL; leaves live for hours",
    ),
    (
        "n_ca_digital_signature_not_set",
        &[Issuing, Root],
        "information: the key signs no OCSP answers, and shall not",
    ),
    (
        "n_mp_allowed_eku",
        &[Issuing],
        "information: an issuer without extendedKeyUsage may issue for any use that its ceiling names",
    ),
    ("n_sub_ca_eku_missing", &[Issuing], "the same"),
    (
        "w_root_ca_basic_constraints_path_len_constraint_field_present",
        &[Root],
        "the development root allows one CA below it and no more: narrower than RFC 5280 asks",
    ),
];

/// Whether a finding is one that does not apply.
pub(crate) fn explained(kind: Kind, finding: &str) -> bool {
    NOT_OURS
        .iter()
        .any(|(name, kinds, _)| *name == finding && kinds.contains(&kind))
}

/// The names of the lints that are not content with a certificate, information included.
pub(crate) fn findings(certificate: &Path) -> Vec<String> {
    let results = program::run("zlint", [certificate]).json();
    let all = results.as_object().unwrap();
    assert!(all.len() > 300, "{} lints ran", all.len());
    let content = |result: &Value| ["pass", "NA", "NE"].iter().any(|word| result["result"] == *word);
    let found = all.iter().filter(|(_, result)| !content(result));
    found.map(|(name, _)| name.clone()).collect()
}

#[tokio::test]
#[ignore = "needs programs that make test-istio builds"]
async fn zlint_finds_nothing_that_has_no_reason() {
    let mut found = Vec::new();
    for algorithm in ["p256", "p384", "rsa3072"] {
        let signer = Signer::dev(&["--algorithm", algorithm]);
        let mut lint = |kind: Kind, what: &str, path: &Path| {
            let of = format!("{what} by {algorithm}");
            found.extend(findings(path).into_iter().map(|lint| (kind, lint, of.clone())));
        };
        for (what, key) in [
            ("p256", csr::p256()),
            ("p384", csr::p384()),
            ("ed25519", csr::ed25519()),
            ("rsa2048", csr::rsa2048()),
        ] {
            let issued = Issued::of(&signer, "web", Csr::pilot_agent(WEB, key)).await;
            let kind = if what == "ed25519" { Ed25519 } else { Workload };
            lint(kind, what, &issued.leaf());
        }
        // zlint takes the first certificate of a file.
        lint(Serving, "serving", &signer.home().join("front/serving.pem"));
        lint(Issuing, "issuing", &signer.home().join("issuer-chain.pem"));
        lint(Root, "root", signer.trust_bundle());
        assert_eq!(signer.stop(), 0);
    }
    let unexplained: Vec<_> = found
        .iter()
        .filter(|(kind, lint, _)| !explained(*kind, lint))
        .collect();
    assert!(unexplained.is_empty(), "{unexplained:#?}");
    // A reason that is not needed any more is taken out; `edges` makes what is long-lived.
    for (name, kinds, _) in NOT_OURS {
        for kind in kinds.iter().filter(|kind| **kind != LongLived) {
            let needed = found.iter().any(|(found, lint, _)| found == kind && lint == name);
            assert!(needed, "{name} finds nothing in {kind:?}");
        }
    }
}

#[test]
#[ignore = "needs programs that make test-istio builds"]
fn zlint_finds_what_is_wrong() {
    // So that the silence above means something: version 3 with a validity that is backwards.
    let mut params = rcgen::CertificateParams::default();
    params.not_before = rcgen::date_time_ymd(2026, 2, 1);
    params.not_after = rcgen::date_time_ymd(2026, 1, 1);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("leaf.pem");
    fs::write(&file, params.self_signed(&csr::p256()).unwrap().pem()).unwrap();
    let found = findings(&file);
    assert!(found.iter().any(|lint| !explained(Workload, lint)), "{found:?}");
}
