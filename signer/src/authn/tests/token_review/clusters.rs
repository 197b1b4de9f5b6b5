//! Which cluster is asked.

use super::{ApiServer, OURS, Reply, ask_as, section, token, yes};
use crate::authn::tests::support::tokens::ISSUER;
use crate::authn::tests::support::{Fixture, code};

struct Two {
    east: ApiServer,
    west: ApiServer,
    fixture: Fixture,
    _folder: tempfile::TempDir,
}

async fn two(east_keys: &str, west_keys: &str) -> Two {
    let folder = tempfile::tempdir().unwrap();
    let [east_file, west_file] = ["east", "west"].map(|name| folder.path().join(name));
    let east = ApiServer::start(Reply::Status(yes())).await;
    let west = ApiServer::start(Reply::Status(yes())).await;
    east.kubeconfig(&east_file, OURS);
    west.kubeconfig(&west_file, OURS);
    let toml = section(
        "",
        &[("east", &east_file, east_keys), ("west", &west_file, west_keys)],
    );
    Two {
        fixture: Fixture::new(&toml, &[]),
        east,
        west,
        _folder: folder,
    }
}

#[tokio::test]
async fn the_id_chooses() {
    let both = two(
        "primary = true\naliases = [\"Kubernetes\", \"e\"]",
        "aliases = [\"w\"]",
    )
    .await;
    for (values, expected) in [
        (&[][..], "east"),
        (&[""], "east"),
        (&["east"], "east"),
        (&["Kubernetes"], "east"),
        (&["e"], "east"),
        (&["west"], "west"),
        (&["w"], "west"),
    ] {
        let caller = ask_as(&both.fixture, values).await.unwrap();
        assert_eq!(caller.cluster(), Some(expected), "{values:?}");
        assert_eq!(caller.attributes()["cluster"], expected);
    }
    // Each was asked for itself: an answer of one cluster is worth nothing for the other.
    assert_eq!((both.east.asked(), both.west.asked()), (1, 1));
}

#[tokio::test]
async fn an_unknown_id_is_refused_and_nobody_asked() {
    let both = two("primary = true", "").await;
    for values in [
        &["north"][..],
        &["East"],
        &["east "],
        &["east", "east"],
        &["east", "west"],
        &["\u{fc}"],
    ] {
        assert_eq!(
            code(ask_as(&both.fixture, values).await),
            "token_cluster",
            "{values:?}"
        );
    }
    assert_eq!((both.east.asked(), both.west.asked()), (0, 0));
}

#[tokio::test]
async fn without_a_primary_the_id_is_needed() {
    let both = two("", "").await;
    assert_eq!(code(ask_as(&both.fixture, &[]).await), "token_cluster");
    assert_eq!(code(ask_as(&both.fixture, &["west"]).await), "accepted");
}

#[tokio::test]
async fn a_foreign_issuers_token_is_not_shown_to_the_cluster() {
    let both = two(
        "primary = true\nissuer = \"https://other.example\"",
        &format!("issuer = {ISSUER:?}"),
    )
    .await;
    assert_eq!(code(ask_as(&both.fixture, &["east"]).await), "token_issuer");
    assert_eq!(code(ask_as(&both.fixture, &["west"]).await), "accepted");
    assert_eq!((both.east.asked(), both.west.asked()), (0, 1));
    assert!(!token().is_empty());
}
