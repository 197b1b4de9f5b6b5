//! How often, how many at a time, how long: and what is said when nobody answers.

use std::sync::Arc;

use futures::future::join_all;
use serde_json::json;
use tokio::sync::Semaphore;

use super::{Cluster, Reply, token, yes};
use crate::authn::tests::support::tokens::{RSA, claims, header, with};
use crate::authn::tests::support::{NOW, code, seconds};

fn tokens(count: usize) -> Vec<String> {
    let numbered = |number: usize| RSA.sign(&header(), &with(claims(), json!({"jti": number.to_string()})));
    (0..count).map(numbered).collect()
}

#[tokio::test]
async fn a_good_answer_is_kept_for_its_time() {
    let cluster = Cluster::start(Reply::Status(yes())).await;
    for (advance, asked) in [(0, 1), (0, 1), (29, 1), (1, 2), (10, 2)] {
        cluster.fixture.clock.advance(seconds(advance));
        cluster.ask(&token()).await.unwrap();
        assert_eq!(cluster.server.asked(), asked);
    }
    // Another signature is another token, whatever the claims.
    cluster.ask(&tokens(1)[0]).await.unwrap();
    assert_eq!(cluster.server.asked(), 3);
}

#[tokio::test]
async fn nothing_is_kept_past_exp_or_when_switched_off() {
    let cluster = Cluster::start(Reply::Status(yes())).await;
    let short = RSA.sign(&header(), &with(claims(), json!({"exp": NOW + 5})));
    cluster.ask(&short).await.unwrap();
    cluster.fixture.clock.advance(seconds(5));
    assert_eq!(code(cluster.ask(&short).await), "token_expired");

    let cluster = Cluster::with(Reply::Status(yes()), "cache_entries = 0").await;
    for asked in 1..=3 {
        cluster.ask(&token()).await.unwrap();
        assert_eq!(cluster.server.asked(), asked);
    }
}

#[tokio::test]
async fn a_revoked_token_is_refused_after_the_cache() {
    let cluster = Cluster::with(Reply::Status(yes()), "cache_for = \"10s\"").await;
    cluster.ask(&token()).await.unwrap();
    cluster.server.set(Reply::Status(
        json!({"user": {}, "error": "service account token has been invalidated"}),
    ));
    assert_eq!(code(cluster.ask(&token()).await), "accepted");
    cluster.fixture.clock.advance(seconds(10));
    assert_eq!(code(cluster.ask(&token()).await), "token_refused");
}

#[tokio::test]
async fn one_review_for_one_token() {
    let gate = Arc::new(Semaphore::new(0));
    let cluster = Cluster::with(Reply::Held(Arc::clone(&gate), yes()), "cache_entries = 0").await;
    let token = token();
    let all = join_all((0..50).map(|_| cluster.ask(&token)));
    let release = async {
        cluster.server.wait_for(1).await;
        gate.add_permits(100);
    };
    let (callers, ()) = tokio::join!(all, release);
    assert!(callers.into_iter().all(|caller| caller.is_ok()));
    assert_eq!(cluster.server.asked(), 1);
}

#[tokio::test]
async fn a_caller_that_leaves_does_not_cut_off_the_others() {
    let gate = Arc::new(Semaphore::new(0));
    let cluster = Cluster::start(Reply::Held(Arc::clone(&gate), yes())).await;
    let token = token();
    tokio::select! {
        biased;
        _ = cluster.ask(&token) => panic!("nothing was answered yet"),
        () = cluster.server.wait_for(1) => {}
    }
    gate.add_permits(1);
    cluster.ask(&token).await.unwrap();
    assert_eq!(cluster.server.asked(), 1);
}

#[tokio::test]
async fn reviews_and_waiting_callers_are_bounded() {
    let gate = Arc::new(Semaphore::new(0));
    let keys = "max_in_flight = 2\nmax_waiting = 5\ncache_entries = 0";
    let cluster = Cluster::with(Reply::Held(Arc::clone(&gate), yes()), keys).await;
    let tokens = tokens(8);
    let all = join_all(tokens.iter().map(|token| cluster.ask(token)));
    let release = async {
        cluster.server.wait_for(2).await;
        gate.add_permits(100);
    };
    let (outcomes, ()) = tokio::join!(all, release);
    let (good, bad): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(Result::is_ok);
    assert_eq!((good.len(), bad.len()), (5, 3));
    for outcome in bad {
        let failure = outcome.unwrap_err();
        assert!(failure.is_unavailable());
        assert_eq!(failure.failures()[0].1.code(), "token_review_overloaded");
    }
    assert_eq!(cluster.server.most_at_once(), 2);
    cluster.ask(&tokens[7]).await.unwrap();
}

#[tokio::test]
async fn an_answer_that_is_none_is_unavailable_and_tried_again() {
    let cluster = Cluster::start(Reply::HangUp).await;
    let huge = "x".repeat(300 * 1024);
    let rows = [
        (Reply::HangUp, "cannot be reached"),
        (Reply::Raw(401, String::new()), "answered 401"),
        (
            Reply::Raw(403, "{\"kind\":\"Status\"}".into()),
            "does not let this signer create TokenReviews",
        ),
        (Reply::Raw(429, String::new()), "answered 429"),
        (Reply::Raw(500, "TOKEN".into()), "answered 500"),
        (Reply::Raw(503, String::new()), "answered 503"),
        (Reply::Raw(302, String::new()), "answered 302"),
        (Reply::Raw(201, String::new()), "not a TokenReview"),
        (Reply::Raw(201, "TOKEN".into()), "not a TokenReview"),
        (
            Reply::Raw(201, "{\"kind\":\"TokenReview\",\"status\":\"TOKEN\"}".into()),
            "not a TokenReview",
        ),
        (
            Reply::Raw(201, "{\"kind\":\"Status\",\"status\":{}}".into()),
            "not a TokenReview",
        ),
        (Reply::Raw(201, huge), "broke off or is larger"),
    ];
    for (reply, expected) in rows {
        cluster.server.set(reply.clone());
        let failure = cluster.ask(&token()).await.unwrap_err();
        let reasons = failure.reasons();
        assert!(failure.is_unavailable(), "{reasons}");
        assert!(reasons.contains(expected), "{reply:?}: {reasons}");
        assert!(!reasons.contains(&token()), "{reasons}");
    }
    cluster.server.set(Reply::Status(yes()));
    cluster.ask(&token()).await.unwrap();
}

#[tokio::test]
async fn a_silent_server_costs_the_deadline() {
    let cluster = Cluster::with(Reply::Silence, "deadline = \"1s\"").await;
    let failure = cluster.ask(&token()).await.unwrap_err();
    assert!(failure.is_unavailable());
    assert!(
        failure.reasons().contains("was not there within 1 s"),
        "{}",
        failure.reasons()
    );
}

#[tokio::test]
async fn a_server_that_is_gone_costs_no_time() {
    let cluster = Cluster::start(Reply::Status(yes())).await;
    cluster.ask(&token()).await.unwrap();
    let Cluster {
        server,
        folder,
        fixture,
    } = cluster;
    drop(server);
    tokio::task::yield_now().await;
    // What is known is known for its time.
    fixture.by_token(&token()).await.unwrap();
    let other = &tokens(1)[0];
    let failure = fixture.by_token(other).await.unwrap_err();
    assert!(failure.is_unavailable());
    assert!(
        failure.reasons().contains("cannot be reached"),
        "{}",
        failure.reasons()
    );
    drop(folder);
}
