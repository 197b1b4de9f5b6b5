//! Modules as large as those of languages that bring an interpreter along.

use std::{env, fs, path::Path, time::Instant};

use serde_json::{Value, json};
use tonic::Code;

use super::{ask, figure, people::Deployment};

/// A component written in Python has 18 MB.
const LARGE: usize = 18 << 20;

/// The component with a section that means nothing and has so many bytes.
fn padded(component: &[u8], bytes: usize) -> Vec<u8> {
    let content = [&[3_u8][..], b"pad", &vec![0x5a; bytes]].concat();
    let mut padded = component.to_vec();
    padded.push(0);
    let mut size = content.len();
    while size > 0x7f {
        padded.push((size & 0x7f) as u8 | 0x80);
        size >>= 7;
    }
    padded.push(size as u8);
    padded.extend(content);
    padded
}

/// Pushes a module and has it decide instead of all others.
fn put_in_force(deployment: &Deployment, module: &Path, name: &str, settings: Value) {
    let pushed = deployment.push_module(module, name, settings, None);
    deployment.propose(&["--enforce", &pushed.revision]);
    deployment.policy("admin", &["activate"]).success();
}

#[tokio::test]
async fn a_module_of_18_mebibytes_decides() {
    let deployment = Deployment::new().await;
    let module = deployment.home.file("large.wasm");
    let baseline = fs::read(deployment.home.file("policies/baseline.wasm")).unwrap();
    fs::write(&module, padded(&baseline, LARGE)).unwrap();
    let bank = json!({"trust_domains": ["cluster.local"], "namespaces": ["bank"]});
    put_in_force(&deployment, &module, "large", bank);
    let denied = ask(&deployment).await.unwrap_err();
    assert_eq!(denied.code(), Code::PermissionDenied, "{denied}");

    // Above the bound not even the first byte is taken.
    fs::write(&module, padded(&baseline, 32 << 20)).unwrap();
    let settings = deployment.home.file("large.json");
    let refused = deployment.policy(
        "admin",
        &[
            "push",
            module.to_str().unwrap(),
            "--name",
            "larger",
            "--settings",
            settings.to_str().unwrap(),
            "--trust-domain",
            "cluster.local",
            "--no-report",
        ],
    );
    assert_ne!(refused.code, 0);
    assert!(
        refused.stderr.contains("RESOURCE_EXHAUSTED"),
        "{}",
        refused.stderr
    );
}

#[tokio::test]
#[ignore = "needs a module made by componentize-py: make test-python-policy"]
async fn a_policy_in_python_decides() {
    let module = env::var("SEALWRIGHT_PYTHON_POLICY").expect("the path of the module");
    let deployment = Deployment::new().await;
    let settings = |namespace: &str| json!({ "namespace": namespace });
    let began = Instant::now();
    put_in_force(
        &deployment,
        Path::new(&module),
        "python-team",
        settings("default"),
    );
    figure(&format!(
        "pushed, judged, approved and in force in {:.1} s",
        began.elapsed().as_secs_f64()
    ));
    ask(&deployment).await.unwrap();
    put_in_force(&deployment, Path::new(&module), "python-team", settings("bank"));
    let denied = ask(&deployment).await.unwrap_err();
    assert_eq!(denied.code(), Code::PermissionDenied, "{denied}");
    assert!(denied.message().contains("another team"), "{denied}");
}
