//! The signer judges what is pushed, in a process of its own: what came along counts for nothing.

use std::fs;

use sealwright_tests::{Outcome, run};
use serde_json::{Value, json};

use super::people::Deployment;
use crate::policy::{BASELINE, HOSTILE};

/// Pushes a module with a report that its author brings along.
fn push(deployment: &Deployment, module: &str, settings: &Value, report: &[&str]) -> Outcome {
    let file = deployment.home.file("judged.json");
    fs::write(&file, settings.to_string()).unwrap();
    let mut arguments = vec![
        "push",
        module,
        "--name",
        "judged",
        "--settings",
        file.to_str().unwrap(),
    ];
    arguments.extend(["--trust-domain", "cluster.local"]);
    arguments.extend(report);
    deployment.policy("admin", &arguments)
}

/// What admission says of a module, as its author would doctor it.
fn doctored(deployment: &Deployment, module: &str, settings: &Value, change: impl Fn(&mut Value)) -> String {
    let file = deployment.home.file("doctored.json");
    fs::write(&file, settings.to_string()).unwrap();
    let settings = file.to_str().unwrap();
    let said = run([
        "policy",
        "admit",
        module,
        "--settings",
        settings,
        "--output",
        "json",
    ]);
    let mut report: Value = serde_json::from_str(&said.stdout).unwrap();
    change(&mut report);
    let path = deployment.home.file("doctored.report");
    fs::write(&path, report.to_string()).unwrap();
    path.to_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_report_that_came_along_is_compared_or_refused() {
    let deployment = Deployment::new().await;
    let baseline = deployment.home.file(BASELINE).to_str().unwrap().to_owned();
    let settings = json!({"trust_domains": ["cluster.local"]});

    // Without one, and with the true one, the signer's own is kept.
    let own = push(&deployment, &baseline, &settings, &["--no-report"]).json();
    assert!(own["report"].as_str().unwrap().starts_with("sha256:"), "{own}");
    let honest = doctored(&deployment, &baseline, &settings, |_| {});
    let same = push(&deployment, &baseline, &settings, &["--report", &honest]).json();
    assert_eq!(same["report"], own["report"]);

    let forged = doctored(&deployment, &baseline, &settings, |report| {
        report["warnings"] = json!([
            {"check": "names", "message": "all is well", "subject": ""}
        ])
    });
    let refused = push(&deployment, &baseline, &settings, &["--report", &forged]);
    assert_ne!(refused.code, 0);
    assert!(refused.stderr.contains("this server's is"), "{}", refused.stderr);

    let none = deployment.home.file("none.report");
    fs::write(&none, "{}").unwrap();
    let refused = push(
        &deployment,
        &baseline,
        &settings,
        &["--report", none.to_str().unwrap()],
    );
    assert!(refused.stderr.contains("cannot be used"), "{}", refused.stderr);
}

#[tokio::test]
async fn what_the_signer_does_not_admit_is_not_kept() {
    let deployment = Deployment::new().await;
    for (deed, why) in [("loop", "FUEL"), ("panic", "TRAP")] {
        let settings = json!({ "decide": deed });
        let forged = doctored(&deployment, HOSTILE, &settings, |report| {
            report["admitted"] = json!(true);
            report["refusals"] = json!([]);
        });
        let refused = push(&deployment, HOSTILE, &settings, &["--report", &forged]);
        assert_ne!(refused.code, 0, "{deed}");
        assert!(
            refused.stderr.contains("not admitted"),
            "{deed}: {}",
            refused.stderr
        );
        assert!(refused.stderr.contains(why), "{deed}: {}", refused.stderr);
    }
    let revisions = deployment.status()["revisions"].clone();
    let kept = revisions
        .as_array()
        .unwrap()
        .iter()
        .any(|one| one["policy"] == "judged");
    assert!(!kept, "{revisions}");
    // The processes that judged are gone.
    let mut said = deployment.signer.log();
    said.retain(|character| character != '\u{1b}');
    assert!(said.contains("the process that judged a module ended"), "{said}");
}
