use std::sync::Arc;

use prometheus_client::encoding::text::encode;
use sealwright_identity::{SystemClock, Timestamp};

use super::*;

#[test]
fn istio_names_carry_no_suffix() {
    let mut registry = Registry::default();
    let metrics = Metrics::register(&mut registry, Arc::new(SystemClock));
    metrics.csr_received();
    metrics.sign_failed("TTL_ERROR");
    metrics.set_expiries(vec![IssuerExpiry {
        issuer: "default".to_owned(),
        chain: Timestamp::from_unix_seconds(4_000_000_000),
        root: Timestamp::from_unix_seconds(4_100_000_000),
    }]);
    let mut page = String::new();
    encode(&mut page, &registry).unwrap();
    for line in [
        "citadel_server_csr_count 1",
        "citadel_server_authentication_failure_count 0",
        "citadel_server_csr_sign_err_count{error=\"TTL_ERROR\"} 1",
        "citadel_server_success_cert_issuance_count 0",
        "citadel_server_root_cert_expiry_timestamp 4100000000",
        "citadel_server_cert_chain_expiry_timestamp 4000000000",
        "sealwright_issuer_expiry_timestamp{issuer=\"default\"} 4000000000",
        "sealwright_plaintext_connections_total 0",
    ] {
        assert!(page.lines().any(|l| l == line), "no line {line:?} in\n{page}");
    }
    assert!(page.contains("citadel_server_root_cert_expiry_seconds "));
    assert!(page.contains("citadel_server_cert_chain_expiry_seconds "));
}
