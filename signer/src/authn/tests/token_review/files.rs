//! Kubeconfigs: read again when they change, refused when they are weak, quoted nowhere.

use std::io::Write;
use std::sync::Arc;

use parking_lot::Mutex;
use sealwright_identity::TrustBundle;
use tokio::sync::watch;

use super::{ApiServer, Cluster, Reply, section, token, yes};
use crate::authn::failure::Causes;
use crate::authn::tests::support::api_server::kubeconfig;
use crate::authn::tests::support::{clock, code, seconds, sections, trust, try_sections};
use crate::authn::{Authenticators, BuildError};

fn build(toml: &str) -> Result<Authenticators, BuildError> {
    let (_sender, bundle) = watch::channel(TrustBundle::from_ders(1, []));
    Authenticators::build(&sections(toml), trust(), bundle, Arc::new(clock()))
}

#[tokio::test]
async fn a_changed_file_is_read_again() {
    let cluster = Cluster::with(Reply::Status(yes()), "cache_entries = 0").await;
    cluster.ask(&token()).await.unwrap();
    let other = ApiServer::start(Reply::Status(yes())).await;
    other.kubeconfig(&cluster.path(), "rotated");
    cluster.fixture.clock.advance(seconds(6));
    cluster.ask(&token()).await.unwrap();
    assert_eq!(other.last().0, "Bearer rotated");

    std::fs::write(cluster.path(), "garbage").unwrap();
    cluster.fixture.clock.advance(seconds(6));
    cluster.ask(&token()).await.unwrap();
    assert_eq!((cluster.server.asked(), other.asked()), (1, 2));
}

#[tokio::test]
async fn a_signal_reads_it_again_and_forgets_answers() {
    let cluster = Cluster::start(Reply::Status(yes())).await;
    cluster.ask(&token()).await.unwrap();
    let other = ApiServer::start(Reply::Status(serde_json::json!({"error": "unknown"}))).await;
    other.kubeconfig(&cluster.path(), "rotated");
    assert!(cluster.fixture.authenticators.reload().await.is_empty());
    assert_eq!(code(cluster.ask(&token()).await), "token_refused");
    std::fs::remove_file(cluster.path()).unwrap();
    let failed = cluster.fixture.authenticators.reload().await;
    assert_eq!(failed.len(), 1);
    assert!(
        Causes(&failed[0].1)
            .to_string()
            .contains("cannot read kubeconfig")
    );
    assert_eq!(code(cluster.ask(&token()).await), "token_refused");
    assert_eq!((cluster.server.asked(), other.asked()), (1, 2));
}

#[test]
fn a_weak_kubeconfig_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("kubeconfig");
    let toml = section("", &[("east", &path, "")]);
    let good = kubeconfig("https://api.example", "secret-in-file");
    let rows = [
        (good.clone(), ""),
        (good.replace("https:", "http:"), "an API server without TLS"),
        (
            good.replace("\"token\":\"secret-in-file\"", "\"exec\":{\"command\":\"sh\"}"),
            "`exec`",
        ),
        (
            good.replace(
                "\"token\":\"secret-in-file\"",
                "\"auth-provider\":{\"name\":\"gcp\",\"config\":{}}",
            ),
            "`auth-provider`",
        ),
        (
            good.replace("\"server\"", "\"insecure-skip-tls-verify\":true,\"server\""),
            "`insecure-skip-tls-verify`",
        ),
        (
            good.replace("\"server\"", "\"proxy-url\":\"http://p:1\",\"server\""),
            "`proxy-url`",
        ),
        (
            good.replace("\"current-context\":\"c\"", "\"current-context\":\"d\""),
            "current context",
        ),
        (
            good.replace("\"server\"", "\"certificate-authority-data\":\"!\",\"server\""),
            "current context",
        ),
        (format!("{good}:: ["), "is not a kubeconfig"),
        ("token: secret-in-file\n- x".into(), "is not a kubeconfig"),
        (String::new(), "current context"),
    ];
    for (text, expected) in rows {
        std::fs::write(&path, &text).unwrap();
        match build(&toml) {
            Ok(_) => assert_eq!(expected, "", "{text}"),
            Err(error) => {
                let error = format!("{} {error:?}", Causes(&error));
                assert!(
                    !expected.is_empty() && error.contains(expected),
                    "{text}\n{error}"
                );
                assert!(!error.contains("secret-in-file"), "{error}");
            }
        }
    }
    std::fs::remove_file(&path).unwrap();
    assert!(build(&toml).is_err());
    assert!(build(&toml.replace(&format!("kubeconfig = {path:?}"), "in_cluster = true")).is_err());
}

#[test]
fn names_key_and_fix() {
    let head = "[[authenticators]]\nname = \"k\"\nkind = \"token-review\"\n";
    let cluster = "[[authenticators.clusters]]\nid = \"a\"\nkubeconfig = \"f\"\n";
    let aud = "audiences = [\"istio-ca\"]\n";
    let rows = [
        (cluster.to_owned(), "audiences is missing"),
        (aud.into(), "clusters is missing"),
        (
            format!("{aud}jwks_file = \"f\"\n{cluster}"),
            "jwks_file means nothing for kind \"token-review\"",
        ),
        (
            format!("{aud}{cluster}in_cluster = true"),
            "needs one of kubeconfig and in_cluster",
        ),
        (
            format!("{aud}[[authenticators.clusters]]\nid = \"a\""),
            "needs one of kubeconfig and in_cluster",
        ),
        (format!("{aud}{cluster}{cluster}"), "is there twice"),
        (format!("{aud}{cluster}aliases = [\"a\"]"), "is there twice"),
        (format!("{aud}{cluster}aliases = [\"\"]"), "is not usable"),
        (
            format!(
                "{aud}{cluster}primary = true\n{}primary = true",
                cluster.replace("\"a\"", "\"b\"")
            ),
            "two clusters are primary",
        ),
        (format!("{aud}{cluster}token = \"x\""), "unknown field `token`"),
        (
            format!("{aud}{cluster}trusted_node_accounts = [\"ztunnel\"]"),
            "is not NAMESPACE/SERVICE_ACCOUNT",
        ),
        (
            format!("{aud}deadline = \"1h\"\n{cluster}"),
            "deadline: above 30 s",
        ),
        (
            format!("{aud}cache_for = \"1h\"\n{cluster}"),
            "cache_for: above 600 s",
        ),
        (
            format!("{aud}max_in_flight = 0\n{cluster}"),
            "max_in_flight: 0 lets nobody in",
        ),
        (
            format!("{aud}attributes = {{ cluster = \"x\" }}\n{cluster}"),
            "attributes.cluster",
        ),
    ];
    for (keys, expected) in rows {
        let error = try_sections(&format!("{head}{keys}")).unwrap_err().to_string();
        assert!(error.contains(expected), "{keys}\n{error}");
    }
    let jwt = "[[authenticators]]\nname = \"j\"\nkind = \"jwt\"\nissuer = \"i\"\ncache_for = \"1s\"\n";
    let error = try_sections(jwt).unwrap_err().to_string();
    assert!(
        error.contains("cache_for means nothing for kind \"jwt\""),
        "{error}"
    );
    let mut good = sections(&format!("{head}{aud}{cluster}"));
    let paths: Vec<_> = good[0].paths_mut().map(|path| path.clone()).collect();
    assert_eq!(paths, [std::path::PathBuf::from("f")]);
}

#[derive(Clone, Default)]
struct Captured(Arc<Mutex<Vec<u8>>>);

impl Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Whatever the server answers, at whatever level is logged.
#[tokio::test]
async fn the_token_is_in_no_log_line_and_no_debug_output() {
    let captured = Captured::default();
    let writer = captured.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let cluster = Cluster::with(Reply::Status(yes()), "cache_entries = 0").await;
    for reply in [
        Reply::Status(yes()),
        Reply::Raw(
            201,
            "{\"kind\":\"TokenReview\",\"spec\":{\"token\":\"TOKEN\"},\"status\":7}".into(),
        ),
        Reply::Raw(500, "no TOKEN".into()),
        Reply::HangUp,
    ] {
        cluster.server.set(reply);
        let outcome = cluster.ask(&token()).await;
        tracing::info!("{outcome:?} {:?}", cluster.fixture.authenticators);
        if let Err(failure) = outcome {
            tracing::info!("{}", failure.reasons());
        }
    }
    let log = String::from_utf8(captured.0.lock().clone()).unwrap();
    let signature = token();
    let signature = signature.rsplit('.').next().unwrap();
    assert!(log.contains("kube"), "something was logged");
    assert!(!log.contains(signature), "{log}");
    assert!(!log.contains(super::OURS), "{log}");
}
