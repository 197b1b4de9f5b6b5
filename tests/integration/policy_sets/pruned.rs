//! What people agreed to, after every request that was decided under it was pruned.

use std::{collections::BTreeMap, fs};

use sealwright_tests::{Client, Csr, who_allowed};
use serde_json::{Value, json};

use super::{WEB, people::Deployment};
use crate::{
    audit::{export, replay, report},
    prune::{list, prune, recorded, verified},
};

/// The changes of what decides in an export, by sequence, with their hashes.
fn changes(export: &str, line: &str) -> BTreeMap<u64, String> {
    let text = fs::read_to_string(export).unwrap();
    let lines = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines
        .filter(|entry| entry["type"] == line && entry["kind"] == "policy")
        .map(|entry| {
            let hash = entry["hash"].as_str().unwrap().to_owned();
            (entry["sequence"].as_u64().unwrap(), hash)
        })
        .collect()
}

#[tokio::test]
async fn people_are_found_after_all_that_they_allowed_was_pruned() {
    let deployment = Deployment::new().await;
    super::ask(&deployment).await.unwrap();
    deployment.found(2);
    deployment.narrowed();
    super::ask(&deployment).await.unwrap();
    super::ask(&deployment).await.unwrap();
    deployment.settle();
    let Deployment { home, signer } = deployment;
    assert_eq!(signer.stop(), 0);

    let rows = list(&home);
    let before = recorded(rows.last().unwrap());
    let first = export(&home, "first.jsonl", &[]);
    let anchor = home.file("roots.pem");
    let replayed = report(&replay(&first, &anchor, &[]));
    let pruned = prune(&home, before, &[&first], &["--yes"]).json();
    assert!(pruned["certificates"].as_u64().unwrap() >= 4, "{pruned}");
    assert_eq!(verified(&home)["findings"], json!([]));

    // The gate judges the sets again at its start, and signs under the last one.
    let signer = home.start();
    let client = Client::connect(&signer).await;
    let token = signer.token("default", "web");
    client.create(&token, &Csr::ztunnel(WEB).pem, 3600).await.unwrap();
    let denied = signer.token("bank", "web");
    client
        .create(&denied, &Csr::ztunnel(WEB).pem, 3600)
        .await
        .unwrap_err();
    assert_eq!(signer.stop(), 0);

    let rows = list(&home);
    let issued = rows
        .iter()
        .rfind(|row| row["identity"] == WEB && row["outcome"] == "issued");
    let serial = issued.unwrap()["serial"].as_str().unwrap();
    let page = who_allowed(home.path(), serial);
    let people: Vec<_> = page["policy_set"]["approvals"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["person"].as_str().unwrap())
        .collect();
    assert_eq!(people, ["ann", "bob"], "{page:#}");

    // A later export has every change from the first roster on, each with the hash of its entry.
    let second = export(&home, "second.jsonl", &[]);
    let of_first = changes(&first, "entry");
    assert!(of_first.len() >= 4, "{of_first:?}");
    assert_eq!(changes(&second, "earlier"), of_first);
    let roster = replayed["sets"]["first_roster"].as_str().unwrap();
    let outcome = replay(&second, &anchor, &["--roster", roster]);
    let of_second = report(&outcome);
    assert_eq!(outcome.code, 0, "{of_second:#}");
    assert_eq!(of_second["sets"]["activated"], replayed["sets"]["activated"]);
    assert_eq!(
        of_second["sets"]["first_roster"],
        replayed["sets"]["first_roster"]
    );
}
