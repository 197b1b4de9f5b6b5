//! Key sets from servers and files: rotation, outages, and servers that misbehave.

use std::sync::Arc;

use serde_json::json;
use tokio::sync::Notify;

use super::support::server::{Answer, TestServer};
use super::support::tokens::{ISSUER, RSA, TestKey, claims, header, key_set, with};
use super::support::{Fixture, NOW, code, seconds};

mod files;
mod servers;

const KEYS: &str = "/keys";

fn from_url(url: &str, options: &str) -> Fixture {
    let toml = format!(
        "[[authenticators]]\nname = \"remote\"\nkind = \"jwt\"\nissuer = {ISSUER:?}\n\
         audiences = [\"istio-ca\"]\njwks_url = {url:?}\nallow_http_loopback = true\n{options}"
    );
    Fixture::new(&toml, &[])
}

fn one_key() -> Answer {
    Answer::Ok(key_set(&[RSA.jwk("first")]))
}

fn token() -> String {
    // Outlives the longest outage of these tests.
    RSA.sign(&header(), &with(claims(), json!({"exp": NOW + 400_000})))
}

fn of_key(kid: &str) -> String {
    let claims = with(claims(), json!({"exp": NOW + 400_000}));
    RSA.sign(&with(header(), json!({ "kid": kid })), &claims)
}

async fn judge(fixture: &Fixture, token: &str) -> &'static str {
    code(fixture.by_token(token).await)
}

/// Requests until the server was asked `hits` times: a fetch behind a request has been sent.
async fn until_hits(server: &TestServer, path: &str, hits: usize) {
    let waiting = async {
        while server.hits(path) < hits {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(seconds(20), waiting).await.unwrap();
}

#[tokio::test]
async fn keys_are_fetched_once_and_on_demand() {
    let server = TestServer::start().await;
    server.set(KEYS, one_key());
    let fixture = from_url(&server.url(KEYS), "");
    assert_eq!(server.hits(KEYS), 0);
    let (a, b, c) = (token(), token(), token());
    let all = tokio::join!(judge(&fixture, &a), judge(&fixture, &b), judge(&fixture, &c));
    assert_eq!(all, ("accepted", "accepted", "accepted"));
    assert_eq!(judge(&fixture, &token()).await, "accepted");
    assert_eq!(server.hits(KEYS), 1);
}

#[tokio::test]
async fn a_caller_who_gives_up_cuts_nobody_off() {
    let server = TestServer::start().await;
    let release = Arc::new(Notify::new());
    let keys = key_set(&[RSA.jwk("first")]);
    server.set(KEYS, Answer::Held(Arc::clone(&release), keys));
    let fixture = from_url(&server.url(KEYS), "");
    let token = token();
    tokio::select! {
        code = judge(&fixture, &token) => panic!("{code} before the keys were sent"),
        () = until_hits(&server, KEYS, 1) => {}
    }
    release.notify_one();
    // The cooldown forbids a second fetch: the first one must have gone on.
    assert_eq!(judge(&fixture, &token).await, "accepted");
    assert_eq!(server.hits(KEYS), 1);
}

#[tokio::test]
async fn who_waited_for_a_fetch_needs_no_other() {
    let server = TestServer::start().await;
    let release = Arc::new(Notify::new());
    let keys = key_set(&[RSA.jwk("first")]);
    server.set(KEYS, Answer::Held(Arc::clone(&release), keys));
    let fixture = from_url(&server.url(KEYS), "refresh_cooldown = \"1s\"");
    let (unknown, token) = (of_key("made-up"), token());
    let slow = async {
        until_hits(&server, KEYS, 1).await;
        // The fetch outlasts the cooldown.
        fixture.clock.advance(seconds(5));
        release.notify_one();
    };
    let (first, second, ()) = tokio::join!(judge(&fixture, &token), judge(&fixture, &unknown), slow);
    assert_eq!((first, second), ("accepted", "token_key_unknown"));
    assert_eq!(server.hits(KEYS), 1);
}

#[tokio::test]
async fn warm_up_fetches_before_the_first_request() {
    let server = TestServer::start().await;
    server.set(KEYS, one_key());
    let fixture = from_url(&server.url(KEYS), "");
    fixture.authenticators.warm_up().await;
    fixture.authenticators.warm_up().await;
    assert_eq!(server.hits(KEYS), 1);
}

#[tokio::test]
async fn tokens_of_other_issuers_fetch_nothing() {
    let server = TestServer::start().await;
    server.set(KEYS, one_key());
    let fixture = from_url(&server.url(KEYS), "");
    let other = RSA.sign(&header(), &with(claims(), json!({"iss": "https://evil.example"})));
    assert_eq!(judge(&fixture, &other).await, "token_issuer");
    assert_eq!(judge(&fixture, "a.b.c").await, "token_malformed");
    assert_eq!(server.hits(KEYS), 0);
}

#[tokio::test]
async fn an_unknown_kid_is_looked_for_at_a_bounded_rate() {
    let server = TestServer::start().await;
    server.set(KEYS, one_key());
    let fixture = from_url(&server.url(KEYS), "refresh_cooldown = \"10s\"");
    assert_eq!(judge(&fixture, &token()).await, "accepted");
    for kid in 0..50 {
        let unknown = of_key(&format!("made-up-{kid}"));
        assert_eq!(judge(&fixture, &unknown).await, "token_key_unknown");
    }
    assert_eq!(server.hits(KEYS), 1);

    // The issuer rotates; the new key is found once the cooldown is over.
    server.set(KEYS, Answer::Ok(key_set(&[RSA.jwk("second")])));
    let rotated = of_key("second");
    assert_eq!(judge(&fixture, &rotated).await, "token_key_unknown");
    fixture.clock.advance(seconds(10));
    assert_eq!(judge(&fixture, &rotated).await, "accepted");
    assert_eq!(judge(&fixture, &token()).await, "token_key_unknown");
    assert_eq!(server.hits(KEYS), 2);
    fixture.clock.advance(seconds(10));
    for kid in 0..50 {
        assert_eq!(
            judge(&fixture, &of_key(&format!("again-{kid}"))).await,
            "token_key_unknown"
        );
    }
    assert_eq!(server.hits(KEYS), 3);
}

#[tokio::test]
async fn a_key_that_does_not_fit_is_not_looked_for() {
    let server = TestServer::start().await;
    server.set(KEYS, one_key());
    let fixture = from_url(&server.url(KEYS), "");
    assert_eq!(judge(&fixture, &token()).await, "accepted");
    fixture.clock.advance(seconds(60));
    let unfit = TestKey::p256().sign(&json!({"alg": "ES256", "kid": "first"}), &claims());
    assert_eq!(judge(&fixture, &unfit).await, "token_key_unknown");
    assert_eq!(server.hits(KEYS), 1);
}

#[tokio::test]
async fn old_keys_serve_while_newer_ones_are_fetched() {
    let server = TestServer::start().await;
    server.set(KEYS, one_key());
    let fixture = from_url(&server.url(KEYS), "refresh_interval = \"10m\"");
    assert_eq!(judge(&fixture, &token()).await, "accepted");
    fixture.clock.advance(seconds(599));
    assert_eq!(judge(&fixture, &token()).await, "accepted");
    assert_eq!(server.hits(KEYS), 1);

    // The issuer withdraws the key: it serves until the fetch that its use sets off is done.
    server.set(KEYS, Answer::Ok(key_set(&[RSA.jwk("second")])));
    fixture.clock.advance(seconds(1));
    assert_eq!(judge(&fixture, &token()).await, "accepted");
    until_hits(&server, KEYS, 2).await;
    // Waits for the fetch that runs.
    assert_eq!(judge(&fixture, &of_key("second")).await, "accepted");
    assert_eq!(judge(&fixture, &token()).await, "token_key_unknown");
    assert_eq!(server.hits(KEYS), 2);
}

#[tokio::test]
async fn the_last_good_set_serves_an_outage_until_max_stale() {
    let server = TestServer::start().await;
    server.set(KEYS, one_key());
    let fixture = from_url(
        &server.url(KEYS),
        "max_stale = \"24h\"\nrefresh_interval = \"1h\"",
    );
    assert_eq!(judge(&fixture, &token()).await, "accepted");
    let url = server.url(KEYS);
    drop(server);
    for _ in 0..24 {
        fixture.clock.advance(seconds(3600));
        assert_eq!(judge(&fixture, &token()).await, "accepted");
    }
    fixture.clock.advance(seconds(1));
    let failure = fixture.by_token(&token()).await.unwrap_err();
    assert!(failure.is_unavailable());
    let reasons = failure.reasons();
    assert!(
        reasons.contains("beyond max_stale") && reasons.contains(&url),
        "{reasons}"
    );
}

#[tokio::test]
async fn an_issuer_that_was_never_there_is_unavailable_and_tried_again() {
    let server = TestServer::start().await;
    server.set(KEYS, Answer::Status(503));
    let fixture = from_url(&server.url(KEYS), "refresh_cooldown = \"10s\"");
    for _ in 0..3 {
        let failure = fixture.by_token(&token()).await.unwrap_err();
        assert!(failure.is_unavailable());
        assert!(failure.reasons().contains("503"), "{}", failure.reasons());
    }
    assert_eq!(server.hits(KEYS), 1);
    server.set(KEYS, one_key());
    // With no keys at all the cooldown is a second at most.
    fixture.clock.advance(seconds(1));
    assert_eq!(judge(&fixture, &token()).await, "accepted");
}
