//! What a set would say of a request that nobody made: by the signer as on this machine, and without a trace.

use std::fs;

use sealwright_tests::{Csr, Outcome};
use serde_json::{Value, json};

use super::{WEB, ask, people::Deployment};
use crate::policy::HOSTILE;

/// `policy explain` about `default/web`.
fn explain(deployment: &Deployment, caller: &str, csr: &str, more: &[&str]) -> Outcome {
    let arguments = [&["explain", "--csr", csr, "--identity", WEB], more].concat();
    deployment.policy(caller, &arguments)
}

/// The same on both sides; the time of the question is the only difference.
fn both(deployment: &Deployment, csr: &str, more: &[&str]) -> Value {
    let config = deployment.home.config();
    let config = config.to_str().unwrap();
    let run = |own: &[&str]| {
        let mut said = explain(deployment, "reader", csr, &[more, own].concat()).json();
        let input = said["input"].as_object_mut().unwrap();
        assert!(input.remove("decided_at").unwrap().is_number());
        said
    };
    let (here, there) = (run(&["--config", config]), run(&["--on-server"]));
    assert_eq!(here, there);
    there
}

#[tokio::test]
async fn a_signer_and_this_machine_explain_alike_and_nothing_is_recorded() {
    let deployment = Deployment::new().await;
    let csr = deployment.home.file("web.csr");
    let pem = Csr::ztunnel(WEB).pem;
    fs::write(&csr, &pem).unwrap();
    let csr = csr.to_str().unwrap();
    let chatty = deployment.push_module(HOSTILE.as_ref(), "chatty", json!({"decide": "log"}), None);
    deployment.propose(&["--shadow", &chatty.revision]);
    deployment.policy("admin", &["activate"]).success();
    ask(&deployment).await.unwrap();
    let records = deployment.signer.log_list(&[]).len();

    let said = both(&deployment, csr, &[]);
    assert_eq!(
        (&said["outcome"], &said["set"]),
        (&json!("allow"), &json!(2)),
        "{said:#}"
    );
    let [stock, shadow] = &said["policies"].as_array().unwrap()[..] else {
        panic!("{said:#}");
    };
    assert_eq!(
        (&stock["policy"], &stock["mode"]),
        (&json!("baseline"), &json!("enforced"))
    );
    assert!(stock["fuel"].as_u64().unwrap() > 1000, "{stock}");
    assert_eq!(
        (&shadow["mode"], &shadow["verdict"]),
        (&json!("shadow"), &json!("allow"))
    );
    assert_eq!(
        shadow["log"][0],
        json!({"level": "debug", "message": "one"}),
        "{shadow}"
    );

    // A set that is only proposed, and what it would refuse.
    let settings = json!({"trust_domains": ["cluster.local"], "namespaces": ["bank"]});
    let strict = deployment.push_unsigned("strict", settings);
    let narrowing = deployment.push_module(HOSTILE.as_ref(), "hour", json!({"decide": "hour"}), None);
    let proposed = deployment.propose(&["--enforce", &strict.revision, "--enforce", &narrowing.revision]);
    let set = proposed["set"].as_str().unwrap();
    let said = both(&deployment, csr, &["--set", set, "--ttl", "2h"]);
    assert_eq!(
        (&said["outcome"], &said["set"]),
        (&json!("deny"), &json!(3)),
        "{said:#}"
    );
    let text = said.to_string();
    assert!(text.contains("NAMESPACE") && text.contains("3600 s"), "{said:#}");
    ask(&deployment).await.unwrap();

    // Refused: who has no role, whose key it is not, what is not there.
    let refused = |caller: &str, csr: &str, more: &[&str], why: &str| {
        let outcome = explain(&deployment, caller, csr, &[&["--on-server"], more].concat());
        assert_ne!(outcome.code, 0, "{}", outcome.stdout);
        assert!(outcome.stderr.contains(why), "{why} in {}", outcome.stderr);
    };
    refused("web", csr, &[], "no role");
    refused("reader", csr, &["--issuer", "nobody"], "no issuer");
    let unknown = format!("sha256:{}", "1".repeat(64));
    refused("reader", csr, &["--set", &unknown], "does not give");
    refused(
        "reader",
        csr,
        &["--set", &strict.revision],
        "no statement of its type",
    );
    let forged = deployment.home.file("forged.csr");
    let end = pem.find("-----END").unwrap() - 20;
    let other = if &pem[end..=end] == "A" { "B" } else { "A" };
    fs::write(&forged, format!("{}{other}{}", &pem[..end], &pem[end + 1..])).unwrap();
    refused("reader", forged.to_str().unwrap(), &[], "CSR cannot be used");

    // One more certificate was issued, and that is all that the ledger has.
    assert_eq!(deployment.signer.log_list(&[]).len(), records + 1);
}
