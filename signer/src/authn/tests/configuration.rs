//! The `[[authenticators]]` sections: the sample, and one row for each mistake.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use sealwright_identity::TrustBundle;
use tokio::sync::watch;

use super::support::{clock, seconds, sections, trust, try_sections};
use crate::authn::config::{Algorithm, AuthenticatorKind, JwtConfig, KeyLocation, SubjectForm};
use crate::authn::{AuthenticatorConfig, Authenticators, BuildError};

const JWT: &str = "[[authenticators]]\nname = \"j\"\nkind = \"jwt\"\n";

fn jwt(config: &AuthenticatorConfig) -> &JwtConfig {
    match &config.kind {
        AuthenticatorKind::Jwt(jwt) => jwt,
        _ => panic!("not a jwt authenticator"),
    }
}

fn build(toml: &str) -> Result<Authenticators, BuildError> {
    let (_sender, bundle) = watch::channel(TrustBundle::from_ders(1, []));
    Authenticators::build(&sections(toml), trust(), bundle, Arc::new(clock()))
}

#[test]
fn reads_the_sample() {
    let all = sections(
        r#"
        [[authenticators]]
        name = "mtls"
        kind = "client-certificate"
        [[authenticators]]
        name = "kubernetes"
        kind = "jwt"
        issuer = "https://kubernetes.default.svc"
        audiences = ["istio-ca"]
        jwks_file = "jwks.json"
        algorithms = ["RS256", "ES256"]
        max_stale = "24h"
        [authenticators.attributes]
        cluster = "east"
        "#,
    );
    assert!(matches!(all[0].kind, AuthenticatorKind::ClientCertificate));
    let jwt = jwt(&all[1]);
    assert_eq!(jwt.keys, KeyLocation::File("jwks.json".into()));
    assert_eq!(jwt.algorithms, [Algorithm::RS256, Algorithm::ES256]);
    assert_eq!(jwt.subject, SubjectForm::Kubernetes);
    assert_eq!(jwt.clock_skew, seconds(60));
    assert_eq!(jwt.refresh_interval, seconds(600));
    assert_eq!(jwt.refresh_cooldown, seconds(10));
    assert_eq!(jwt.max_stale, seconds(86_400));
    assert_eq!(all[1].attributes["cluster"], "east");
}

#[test]
fn shows_its_paths() {
    let mut all = sections(&format!(
        "{JWT}issuer = \"https://i\"\naudiences = [\"a\"]\ndiscovery = true\n\
         ca_file = \"ca.pem\"\nbearer_token_file = \"token\"\n"
    ));
    for path in all[0].paths_mut() {
        *path = Path::new("/etc").join(&path);
    }
    let fetch = &jwt(&all[0]).fetch;
    assert_eq!(fetch.ca_file, Some(PathBuf::from("/etc/ca.pem")));
    assert_eq!(fetch.bearer_token_file, Some(PathBuf::from("/etc/token")));
    assert_eq!(
        sections("[[authenticators]]\nname = \"m\"\nkind = \"client-certificate\"")[0]
            .paths_mut()
            .count(),
        0
    );
}

#[test]
fn names_key_and_fix() {
    let whole = "issuer = \"https://i\"\naudiences = [\"a\"]\n";
    let file = "jwks_file = \"f\"\n";
    let rows = [
        (String::new(), "issuer is missing"),
        ("issuer = \"i\"".into(), "audiences is missing"),
        ("issuer = \"i\"\naudiences = []".into(), "audiences is missing"),
        (
            "issuer = \"i\"\naudiences = [\"\"]".into(),
            "an audience cannot be empty",
        ),
        (
            whole.into(),
            "name the issuer's keys with one of jwks_file, jwks_url and discovery",
        ),
        (format!("{whole}{file}discovery = true"), "keep one of jwks_file"),
        (
            format!("{whole}{file}jwks_url = \"https://i/k\""),
            "keep one of jwks_file",
        ),
        (format!("{whole}jwks_url = \"i/k\""), "is not a URL"),
        (format!("{whole}jwks_url = \"http://i/k\""), "https only"),
        (format!("{whole}jwks_url = \"http://127.0.0.1/k\""), "https only"),
        (
            format!("{whole}jwks_url = \"http://localhost/k\"\nallow_http_loopback = true"),
            "https only",
        ),
        (
            format!("{whole}jwks_url = \"http://127.0.0.1.evil/k\"\nallow_http_loopback = true"),
            "https only",
        ),
        (format!("{whole}jwks_url = \"https://u:p@i/k\""), "https only"),
        (format!("{whole}jwks_url = \"file:///etc/passwd\""), "https only"),
        (
            "issuer = \"i\"\naudiences = [\"a\"]\ndiscovery = true".into(),
            "issuer: \"i\" is not a URL",
        ),
        (
            format!("{whole}{file}ca_file = \"f\""),
            "ca_file means nothing beside jwks_file",
        ),
        (
            format!("{whole}{file}bearer_token_file = \"f\""),
            "bearer_token_file means nothing",
        ),
        (format!("{whole}{file}algorithms = []"), "the list is empty"),
        (
            format!("{whole}{file}algorithms = [\"none\"]"),
            "unknown variant `none`",
        ),
        (
            format!("{whole}{file}algorithms = [\"HS256\"]"),
            "unknown variant `HS256`",
        ),
        (
            format!("{whole}{file}clock_skew = \"1h\""),
            "clock_skew: above 10m",
        ),
        (
            format!("{whole}{file}max_stale = \"1\""),
            "a duration is a whole number",
        ),
        (
            format!("{whole}{file}max_stale = \"1h\"\nrefresh_interval = \"2h\""),
            "longer than max_stale",
        ),
        (
            format!("{whole}{file}subject = \"email\""),
            "unknown variant `email`",
        ),
        (format!("{whole}{file}jwks = \"f\""), "unknown field `jwks`"),
    ];
    for (keys, expected) in rows {
        let error = try_sections(&format!("{JWT}{keys}")).unwrap_err().to_string();
        assert!(error.contains(expected), "{keys}\n{error}");
    }
    for (toml, expected) in [
        (
            "name = \"m\"\nkind = \"client-certificate\"\nissuer = \"i\"",
            "authenticator \"m\": issuer means nothing for kind \"client-certificate\": remove it",
        ),
        (
            "name = \"a b\"\nkind = \"client-certificate\"",
            "name \"a b\" is not usable",
        ),
        (
            "name = \"\"\nkind = \"client-certificate\"",
            "name \"\" is not usable",
        ),
        ("name = \"m\"\nkind = \"mtls\"", "unknown variant `mtls`"),
        ("kind = \"jwt\"", "missing field `name`"),
    ] {
        let error = try_sections(&format!("[[authenticators]]\n{toml}"))
            .unwrap_err()
            .to_string();
        assert!(error.contains(expected), "{toml}\n{error}");
    }
}

#[test]
fn refuses_what_cannot_be_built() {
    let folder = tempfile::tempdir().unwrap();
    let twice = "[[authenticators]]\nname = \"m\"\nkind = \"client-certificate\"\n".repeat(2);
    assert!(matches!(build(&twice), Err(BuildError::DuplicateName { name }) if name == "m"));
    let section = |keys: &str| format!("{JWT}issuer = \"https://i\"\naudiences = [\"a\"]\n{keys}");
    let file = folder.path().join("file");
    let from_file = section(&format!("jwks_file = {file:?}"));
    let with_ca = section(&format!("discovery = true\nca_file = {file:?}"));
    assert!(matches!(build(&from_file), Err(BuildError::Keys { .. })));
    assert!(matches!(build(&with_ca), Err(BuildError::Keys { .. })));
    for content in [
        "",
        "garbage",
        "{}",
        "{\"keys\":[]}",
        "{\"keys\":[{\"kty\":\"oct\",\"k\":\"AA\"}]}",
    ] {
        std::fs::write(&file, content).unwrap();
        assert!(build(&from_file).is_err(), "{content}");
        assert!(build(&with_ca).is_err(), "{content}");
    }
    std::fs::write(&file, vec![b' '; 2 << 20]).unwrap();
    assert!(build(&from_file).is_err());
}
