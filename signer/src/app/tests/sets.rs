//! Policy sets that change while the front serves.

use sealwright_proto::gate::IssueRequest;
use sealwright_statement::policy::Mode;
use tonic::Code;

use super::front::{Front, config, entries};
use super::request;
use crate::testing::FakeEntry;

fn set_number(issue: &IssueRequest) -> u64 {
    let evidence = issue.evidence.as_ref().unwrap();
    evidence.decision.as_ref().unwrap().set_number
}

#[tokio::test]
async fn a_request_that_meets_a_switch_is_decided_again() {
    let front = Front::start(|_| {}).await;
    front.ask(request()).await.unwrap();
    let same = entries(&config(&front.pki));
    // Nobody tells the front: its next request is decided under the old set, and hears of the new one.
    front.gate.put_in_force(&same);
    front.ask(request()).await.unwrap();
    let numbers: Vec<u64> = front.gate.issues().iter().map(set_number).collect();
    assert_eq!(numbers, [1, 2]);

    // What the new set denies is denied, whatever the old one said.
    let strict = FakeEntry {
        settings: serde_json::json!({"trust_domains": ["elsewhere"]}),
        ..same[0].clone()
    };
    front.gate.put_in_force(&[strict]);
    let denied = front.ask(request()).await.unwrap_err();
    assert_eq!(denied.code(), Code::PermissionDenied, "{denied}");
    let denial = front.gate.denials().pop().unwrap();
    assert_eq!(denial.denial.unwrap().policy, "baseline");

    // A shadow has no say.
    let shadow = FakeEntry {
        mode: Mode::Shadow,
        settings: serde_json::json!({"trust_domains": ["elsewhere"]}),
        name: "shadow".to_owned(),
        ..same[0].clone()
    };
    front.gate.put_in_force(&[same[0].clone(), shadow]);
    // A denial is an answer under any set: the front hears of the new one when it looks.
    while let Err(status) = front.ask(request()).await {
        assert_eq!(status.code(), Code::PermissionDenied, "{status}");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let last = front.gate.issues().pop().unwrap();
    let decision = last.evidence.unwrap().decision.unwrap();
    assert_eq!((decision.set_number, decision.policies.len()), (4, 1));
    assert!(!decision.policies[0].revision.is_empty());
    let mut page = String::new();
    for _ in 0..600 {
        page = front.page("/metrics").await;
        if page.contains(
            r#"sealwright_policy_shadows_total{policy="shadow",difference="denies",origin="set"} 1"#,
        ) {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert!(page.contains("sealwright_policy_shadows_total"), "{page}");
    front.stop().await;
}
