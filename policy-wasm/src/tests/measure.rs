//! Figures, on demand:
//! `cargo test --release -p sealwright-policy-wasm measure -- --ignored --nocapture`.

use serde_json::json;
use tokio::time::Instant;

use super::support::{guest, load, source};
use crate::{Engine, EngineSettings, Policy, Verdict, input::tests::sample};

const ROUNDS: usize = 3000;

#[test]
#[ignore = "prints figures and asserts none"]
fn measure_decisions() {
    let settings = json!({
        "trust_domains": ["cluster.local"],
        "namespaces": ["shop", "bank-*"],
        "service_accounts": ["*"],
        "auth_sources": ["jwt", "client-certificate"],
        "key_types": ["p256", "p384"],
        "lifetime_caps": [{"namespace": "shop", "max_seconds": 3600}]
    });
    let policy = load("baseline", settings).unwrap();
    let input = sample();
    let mut times: Vec<_> = (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            let evaluation = policy.evaluate(&input);
            assert_eq!(evaluation.verdict, Verdict::Allow);
            (start.elapsed(), evaluation.fuel)
        })
        .collect();
    times.sort_unstable();
    let at = |part: usize| times[ROUNDS * part / 100].0;
    println!(
        "baseline: fuel {}, min {:?}, p50 {:?}, p90 {:?}, p99 {:?}{}",
        times[0].1,
        times[0].0,
        at(50),
        at(90),
        at(99),
        if cfg!(debug_assertions) {
            " (debug build of the host: an upper bound)"
        } else {
            ""
        }
    );
}

/// The baseline under another digest: a custom section more.
fn distinct(number: u8) -> Vec<u8> {
    let mut bytes = guest("baseline");
    bytes.extend([0, 3, 1, b'n', number]);
    bytes
}

#[test]
#[ignore = "prints figures and asserts none"]
fn measure_starts() {
    let home = tempfile::tempdir().unwrap();
    for start in ["from source", "from kept code"] {
        let settings = EngineSettings {
            code_folder: Some(home.path().join("code")),
            ..EngineSettings::default()
        };
        let before = Instant::now();
        let engine = Engine::new(settings).unwrap();
        let policies: Vec<Policy> = (0..100)
            .map(|number| {
                let settings = json!({"trust_domains": ["cluster.local"]});
                Policy::load(&engine, source(distinct(number), settings)).unwrap()
            })
            .collect();
        let origins = engine.code_origins();
        println!(
            "{} modules {start}: {:?}, {origins:?}",
            policies.len(),
            before.elapsed()
        );
    }
}
