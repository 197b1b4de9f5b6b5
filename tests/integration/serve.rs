//! A running signer: versions of TLS, switches, reload, restart, the end, and who else may start.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use rustix::process::Signal;
use sealwright_proto::istio::{CsrRequest, CsrResponse, istio_ca_service_client::IstioCaServiceClient};
use sealwright_tests::{Client, Csr, Home, Process, Serving, Signer, shared, signer::signal, within};
use tonic::{Code, Request, Status};

const WEB: &str = "spiffe://cluster.local/ns/default/sa/web";

/// Whether `openssl s_client` agrees on exactly this version with a server.
fn speaks(server: &str, roots: &Path, version: &str) -> bool {
    let output = Command::new("openssl")
        .args([
            "s_client",
            "-brief",
            "-verify_return_error",
            "-alpn",
            "h2",
            version,
        ])
        .args(["-connect", server, "-servername", "localhost", "-CAfile"])
        .arg(roots)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    output.status.success()
}

#[test]
fn tls_1_2_and_1_3_are_spoken_and_nothing_older() {
    for (version, spoken) in [("-tls1_1", false), ("-tls1_2", true), ("-tls1_3", true)] {
        assert_eq!(
            speaks(shared().grpc(), shared().trust_bundle(), version),
            spoken,
            "{version}"
        );
    }
}

#[test]
fn the_oldest_version_can_be_1_3() {
    let home = Home::new();
    home.without_grants();
    home.replace("[http]\n", "[server.tls]\nmin_version = \"1.3\"\n[http]\n");
    let signer = home.start();
    for (version, spoken) in [("-tls1_2", false), ("-tls1_3", true)] {
        assert_eq!(
            speaks(signer.grpc(), signer.trust_bundle(), version),
            spoken,
            "{version}"
        );
    }
}

async fn handle_csr(signer: &Signer, token: Option<&str>) -> Result<CsrResponse, Status> {
    let mut request = Request::new(CsrRequest {
        csr_pem: Csr::ztunnel(WEB).pem.into_bytes(),
        requested_ttl_minutes: 60,
        ..CsrRequest::default()
    });
    if let Some(token) = token {
        let bearer = format!("Bearer {token}");
        request
            .metadata_mut()
            .append("authorization", bearer.parse().unwrap());
    }
    let mut client = IstioCaServiceClient::new(Client::connect(signer).await.channel());
    Ok(client.handle_csr(request).await?.into_inner())
}

#[tokio::test]
async fn the_service_of_early_releases_is_served_when_it_is_switched_on() {
    let token = shared().token("default", "web");
    let status = handle_csr(shared(), Some(&token)).await.unwrap_err();
    assert_eq!(status.code(), Code::Unimplemented, "{status}");

    let home = Home::new();
    home.replace("[server]\n", "[server]\nlegacy_csr_service = true\n");
    let signer = home.start();
    let answer = handle_csr(&signer, Some(&signer.token("default", "web")))
        .await
        .unwrap();
    assert!(answer.is_approved);
    let leaf = String::from_utf8(answer.signed_cert).unwrap();
    let chain = String::from_utf8(answer.cert_chain).unwrap();
    assert_eq!(leaf.matches("BEGIN CERTIFICATE").count(), 1);
    assert!(
        !chain.contains(&fs::read_to_string(signer.trust_bundle()).unwrap()),
        "the root is not sent"
    );
    assert_eq!(
        signer.log_list(&["--identity", WEB]).pop().unwrap()["outcome"],
        "issued"
    );
    let status = handle_csr(&signer, None).await.unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated, "{status}");
    assert!(signer.token("default", "web").len() > 10);
}

/// Waits until a line of the log has a text.
async fn says(signer: &Signer, text: &str) {
    for _ in 0..600 {
        if signer.log().contains(text) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("it never says {text:?}:\n{}", signer.log());
}

#[tokio::test]
async fn a_reload_takes_new_keys_and_roots_and_keeps_connections() {
    // In a folder without secrets, so that files can be put in the place of others.
    let home = Home::new();
    let public = |name: &str| home.file("public").join(name);
    fs::create_dir(home.file("public")).unwrap();
    for name in ["roots.pem", "jwks.json"] {
        fs::copy(home.file(name), public(name)).unwrap();
        home.replace(&format!("\"{name}\""), &format!("\"public/{name}\""));
    }
    let signer = home.start();
    let client = Client::connect(&signer).await;
    let ask = async |token: &str| client.create(token, &Csr::ztunnel(WEB).pem, 60).await;
    let old = signer.token("default", "web");
    assert!(ask(&old).await.is_ok());

    // The token issuer's key and one more root, of another home.
    let folder = tempfile::tempdir().unwrap();
    let other = folder.path().join("home");
    assert_eq!(Signer::dev_in(&other, &[]).stop(), 0);
    fs::copy(other.join("jwt-issuer.key"), home.file("jwt-issuer.key")).unwrap();
    let both = [home.path(), &other].map(|home| fs::read_to_string(home.join("roots.pem")).unwrap());
    let both = both.concat();
    fs::write(public("new"), &both).unwrap();
    fs::rename(public("new"), public("roots.pem")).unwrap();
    fs::copy(other.join("jwks.json"), public("new")).unwrap();
    fs::rename(public("new"), public("jwks.json")).unwrap();
    let new = signer.token("default", "web");

    signal(signer.pid(), Signal::HUP);
    says(&signer, "\"message\":\"reloaded\"").await;
    assert!(ask(&new).await.is_ok());
    assert_eq!(ask(&old).await.unwrap_err().code(), Code::Unauthenticated);
    assert_eq!(signer.http("/bundle").await.1, both);
    assert!(ask(&new).await.unwrap().last().unwrap().contains(both.trim_end()));
    assert_eq!(signer.stop(), 0);
}

#[tokio::test]
async fn a_reload_takes_a_file_of_the_home_that_was_replaced() {
    // Landlock alone knows files beside secrets one by one, and a new one is not among them.
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let home = Home::new();
    home.without_grants();
    let signer = home.start();
    fs::copy(home.file("roots.pem"), home.file("new")).unwrap();
    fs::rename(home.file("new"), home.file("roots.pem")).unwrap();
    signal(signer.pid(), Signal::HUP);
    says(&signer, "\"message\":\"reloaded\"").await;
}

#[tokio::test]
async fn a_reload_that_fails_changes_nothing() {
    let home = Home::new();
    let signer = home.start();
    let bundle = signer.http("/bundle").await.1;
    fs::write(home.file("roots.pem"), "no roots").unwrap();
    signal(signer.pid(), Signal::HUP);
    says(&signer, "nothing was reloaded").await;
    assert_eq!(signer.http("/bundle").await, (200, bundle.clone()));
    fs::write(home.file("roots.pem"), bundle).unwrap();
    let client = Client::connect(&signer).await;
    let answer = client
        .create(&signer.token("default", "web"), &Csr::ztunnel(WEB).pem, 60)
        .await;
    assert!(answer.is_ok(), "{answer:?}");
}

#[test]
fn a_home_that_is_held_is_refused_and_its_holder_goes_on() {
    let home = Home::new();
    home.without_grants();
    let signer = home.start();
    let (config, path) = (home.config(), home.path().to_str().unwrap());
    let serve = ["serve", "--config", config.to_str().unwrap()];
    for start in [serve, ["dev", "--home", path]] {
        let outcome = home.run_bare(&start, &[]);
        assert_eq!(outcome.code, 7, "{start:?}: {}", outcome.stderr);
        assert!(outcome.stdout.is_empty());
        assert!(
            outcome.stderr.contains("held by another running signer"),
            "{}",
            outcome.stderr
        );
        assert!(outcome.stderr.contains("use another home"), "{}", outcome.stderr);
    }
    let (code, items) = home.check();
    assert_eq!(code, 0, "{items:?}");
    for name in ["home", "PIN"] {
        let item = items.iter().find(|item| item["check"] == name).unwrap();
        assert_eq!(item["state"], "held", "{item}");
    }
    assert_eq!(signer.log_list(&[]).last().unwrap()["outcome"], "issued");
    assert_eq!(signer.stop(), 0);
    assert_eq!(home.start().stop(), 0);
}

#[tokio::test]
async fn a_front_that_is_killed_comes_back_on_its_ports() {
    let home = Home::new();
    home.without_grants();
    let serving = home.serve();
    serving.wait_until(200, "").await;
    let front = front(&serving).unwrap();
    signal(front.0, Signal::KILL);
    let next = within(|| self::front(&serving).filter(|next| *next != front)).unwrap();
    let ready = async || {
        let page = reqwest::get(format!("http://{}/readyz", serving.http())).await;
        page.is_ok_and(|page| page.status() == 200)
    };
    for _ in 0..600 {
        if ready().await {
            assert!(next.runs());
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("it does not come back:\n{}", serving.log());
}

fn front(serving: &Serving) -> Option<Process> {
    let mut children = Process::all_of(serving.pid()).into_iter().skip(1);
    children.find(|child| child.runs() && child.role() == "front")
}

#[test]
fn a_signal_ends_everything_with_0() {
    for which in [Signal::TERM, Signal::INT] {
        let home = Home::new();
        home.without_grants();
        let signer = home.start();
        let all = Process::all_of(signer.pid());
        assert_eq!(all.len(), 3, "{all:?}");
        signal(signer.pid(), which);
        let gone = within(|| all.iter().all(|process| !process.runs()).then_some(()));
        assert!(gone.is_some(), "{all:?}:\n{}", signer.log());
        assert_eq!(signer.stop(), 0);
    }
}

#[test]
fn a_supervisor_that_is_killed_takes_its_children_along() {
    let home = Home::new();
    home.without_grants();
    let signer = home.start();
    let all = Process::all_of(signer.pid());
    assert_eq!(all.len(), 3, "{all:?}");
    signal(signer.pid(), Signal::KILL);
    let gone = within(|| all.iter().all(|process| !process.runs()).then_some(()));
    assert!(gone.is_some(), "{all:?}");
}

#[tokio::test]
async fn without_a_token_a_kept_certificate_serves_and_signing_is_unavailable() {
    let home = Home::new();
    let token = {
        let signer = home.start();
        signer.token("default", "web")
    };
    home.replace(
        "uri = \"pkcs11:token=sealwright\"",
        "uri = \"pkcs11:token=other\"",
    );
    let serving = home.serve();
    serving.wait_until(503, "pkcs11:token=other").await;
    let client = Client::connect_to(serving.grpc(), &home.file("roots.pem")).await;
    let status = client
        .create(&token, &Csr::ztunnel(WEB).pem, 60)
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status}");
    let mut health = tonic_health::pb::health_client::HealthClient::new(client.channel());
    let answer = health
        .check(tonic_health::pb::HealthCheckRequest::default())
        .await
        .unwrap();
    assert_eq!(answer.into_inner().status, 2, "not serving");
}
