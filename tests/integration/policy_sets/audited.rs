//! What people agreed to, read back by an auditor: from a certificate to the people, and from the people to certificates.

use sealwright_tests::{run, who_allowed};
use serde_json::{Value, json};

use super::{ask, people::Deployment};
use crate::audit::{export, replay, report};

/// `log list` with these arguments.
fn list(deployment: &Deployment, more: &[&str]) -> Vec<Value> {
    let home = deployment.home.path().to_str().unwrap();
    let arguments = ["log", "list", "--home", home, "--output", "json"];
    run(arguments.iter().chain(more).copied()).json_lines()
}

#[tokio::test]
async fn what_people_agreed_to_is_replayed_and_leads_to_its_certificates() {
    let deployment = Deployment::new().await;
    ask(&deployment).await.unwrap();
    deployment.found(2);
    ask(&deployment).await.unwrap();

    let (pushed, set) = deployment.narrowed();
    ask(&deployment).await.unwrap();

    // Set 4 is set 2 again, and the revision is gone for ever.
    let keys = [deployment.key("ann"), deployment.key("eve")];
    let by = ["--sign-with", &keys[0], "--sign-with", &keys[1]];
    let rollback = [["rollback", "2"].as_slice(), &by].concat();
    deployment.policy("admin", &rollback).success();
    let revoke = [["revoke", &pushed.revision, "--reason", "a test"].as_slice(), &by].concat();
    deployment.policy("admin", &revoke).success();
    ask(&deployment).await.unwrap();

    // The certificate leads to the people.
    let third = list(&deployment, &["--set", "3"]);
    assert_eq!(third.len(), 1, "{third:?}");
    let serial = third[0]["serial"].as_str().unwrap();
    let page = who_allowed(deployment.home.path(), serial);
    let found = &page["policy_set"];
    assert_eq!(
        (&found["number"], &found["digest"]),
        (&json!(3), &json!(set)),
        "{found:#}"
    );
    let approvals = found["approvals"].as_array().unwrap();
    let names: Vec<_> = approvals
        .iter()
        .map(|one| one["person"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["ann", "bob"], "{found:#}");
    assert!(
        approvals[0]["keys"][0].as_str().unwrap().starts_with("sha256:"),
        "{found:#}"
    );
    let narrow = page["allowed_by"].as_array().unwrap();
    let narrow = narrow.iter().find(|one| one["policy"] == "narrow").unwrap();
    let revision = &narrow["revision"];
    assert_eq!(revision["digest"], pushed.revision, "{page:#}");
    assert_eq!(revision["pushed_by"], json!(["dan"]), "{page:#}");
    assert_eq!(revision["revoked"], true, "{page:#}");
    let report_of = pushed.report_of_revision();
    let admitted = report_of.split_once('=').unwrap().1;
    assert_eq!(revision["admission_report"], admitted, "{page:#}");

    // And the people to certificates.
    assert_eq!(list(&deployment, &["--policy", &pushed.revision]), third);
    assert_eq!(list(&deployment, &["--approver", "bob"]), third);
    let by_eve = list(&deployment, &["--approver", "eve"]);
    assert_eq!((by_eve.len(), &by_eve[0]["set"]), (1, &json!(4)), "{by_eve:?}");
    let all = list(&deployment, &[]);

    let anchor = deployment.home.file("roots.pem");
    let bundle = export(&deployment.home, "all.jsonl", &[]);
    let outcome = replay(&bundle, &anchor, &[]);
    let said = report(&outcome);
    assert_eq!(outcome.code, 0, "{said:#}");
    let sets = &said["sets"];
    let approvals: Vec<_> = sets["activated"]
        .as_array()
        .unwrap()
        .iter()
        .map(|set| &set["approvals"])
        .collect();
    assert_eq!(
        approvals,
        [
            &json!("none"),
            &json!("none"),
            &json!(["ann", "bob"]),
            &json!(["ann", "eve"])
        ],
        "{sets:#}"
    );
    assert_eq!(sets["revoked"], json!([pushed.revision]), "{sets:#}");
    assert_eq!(sets["without_set"], 0, "{sets:#}");

    // The last request alone, with all that was agreed to before it.
    let since = all.last().unwrap()["recorded_at"].as_str().unwrap();
    let part = export(&deployment.home, "part.jsonl", &["--since", since]);
    let roster = sets["first_roster"].as_str().unwrap();
    let outcome = replay(&part, &anchor, &["--roster", roster]);
    let of_part = report(&outcome);
    assert_eq!(outcome.code, 0, "{of_part:#}");
    assert_eq!(of_part["counts"]["reproduced"], 1, "{of_part:#}");
    assert_eq!(of_part["sets"]["activated"], sets["activated"]);
    assert_eq!(of_part["sets"]["rehearsed"], 0, "{of_part:#}");
}
