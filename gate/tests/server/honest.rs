//! What an honest front gets.

use sealwright_identity::San;
use sealwright_proto::gate::{Denial, QueryRequest, RecordDenial};
use sealwright_x509::tbs::{LeafKind, LeafTbs};

use crate::world::{WEB, alone, csr, evidence, far, take_apart};

#[test]
fn a_certificate_is_recorded_signed_verified_and_returned() {
    alone(
        "honest::a_certificate_is_recorded_signed_verified_and_returned",
        async |world| {
            let running = world.start().await;
            running.until_ready(true).await;
            let order = world.order();
            let issued = running.issue(order.request()).await.unwrap();
            let (tbs, signature) = take_apart(&issued.certificate);
            assert_eq!(tbs, order.tbs());
            order.issuer.chain.verify(&tbs, &signature).unwrap();
            assert_eq!(
                issued.intermediates.len(),
                order.issuer.chain.intermediates_der().len()
            );
            assert_eq!(&issued.roots_pem[..], order.issuer.chain.roots_pem().as_bytes());

            let row = running.newest().await;
            assert_eq!(row["outcome"], "issued");
            assert_eq!(row["serial"], order.fields.serial.to_string());
            assert_eq!(row["identity"], WEB);
            assert_eq!(row["policies"][0]["verdict"], "allow");

            let status = running.client.status(far()).await.unwrap();
            assert!(status.ready && status.reasons.is_empty());
            assert!(
                status.metrics.contains("sealwright_gate_requests_total"),
                "{}",
                status.metrics
            );
            assert!(!status.token_serial.is_empty());
            running.end().await;
        },
    );
}

#[test]
fn many_in_flight_share_syncs() {
    alone("honest::many_in_flight_share_syncs", async |world| {
        let running = world.start().await;
        let orders: Vec<_> = (0..200).map(|_| world.order()).collect();
        let before = commits(&running.client.status(far()).await.unwrap().metrics);
        let issued =
            futures::future::join_all(orders.iter().map(|order| running.issue(order.request()))).await;
        for (order, issued) in orders.iter().zip(issued) {
            assert_eq!(take_apart(&issued.unwrap().certificate).0, order.tbs());
        }
        let after = commits(&running.client.status(far()).await.unwrap().metrics);
        // Two records each; alone each would be a sync.
        assert!(after - before < 400, "{before} to {after}");
        running.end().await;
    });
}

fn commits(metrics: &str) -> u64 {
    metrics
        .lines()
        .find_map(|line| line.strip_prefix("sealwright_gate_ledger_commits "))
        .and_then(|value| value.parse().ok())
        .unwrap()
}

#[test]
fn a_serving_certificate_has_the_configured_names_only() {
    alone(
        "honest::a_serving_certificate_has_the_configured_names_only",
        async |world| {
            let running = world.start().await;
            let key = rcgen::KeyPair::generate().unwrap();
            let issued = running.client.serving(csr(&key), far()).await.unwrap();
            let (tbs, signature) = take_apart(&issued.certificate);
            world.issuer().chain.verify(&tbs, &signature).unwrap();
            let leaf = LeafTbs::decode(&tbs).unwrap();
            assert_eq!(leaf.fields().kind, LeafKind::Serving);
            let names: Vec<_> = leaf.fields().sans.iter().map(San::to_string).collect();
            assert_eq!(names, ["DNS:localhost", "IP:127.0.0.1", "IP:::1"]);
            let row = running.newest().await;
            assert_eq!(row["outcome"], "issued");
            assert_eq!(row["certificate_kind"], "serving");
            running.end().await;
        },
    );
}

#[test]
fn a_policy_may_choose_dns_names_of_the_ceiling() {
    alone(
        "honest::a_policy_may_choose_dns_names_of_the_ceiling",
        async |world| {
            let running = world.start().await;
            let mut order = world.order();
            order.fields.sans.push("DNS:web.svc".parse().unwrap());
            let chosen = sealwright_proto::gate::StringList {
                items: vec![format!("URI:{WEB}"), "DNS:web.svc".into()],
            };
            order.decision().policies[1].narrowing = Some(sealwright_proto::gate::Narrowing {
                names: Some(chosen),
                ..Default::default()
            });
            running.issue(order.request()).await.unwrap();
            running.end().await;
        },
    );
}

#[test]
fn a_denial_is_recorded() {
    alone("honest::a_denial_is_recorded", async |world| {
        let running = world.start().await;
        let mut evidence = evidence(&world.issuer());
        evidence.decision.as_mut().unwrap().policies[0].verdict = "deny".into();
        let denial = RecordDenial {
            issuer: String::new(),
            csr: b"whatever was asked".to_vec(),
            evidence: Some(evidence),
            denial: Some(Denial {
                policy: "baseline".into(),
                code: "NAMESPACE".into(),
                message: "not this one".into(),
                ..Denial::default()
            }),
        };
        running.client.record_denial(denial, far()).await.unwrap();
        let row = running.newest().await;
        assert_eq!(row["outcome"], "denied");
        assert_eq!(row["denial"]["code"], "NAMESPACE");
        assert_eq!(row["serial"], serde_json::Value::Null);
        running.end().await;
    });
}

#[test]
fn queries_filter() {
    alone("honest::queries_filter", async |world| {
        let running = world.start().await;
        let orders: Vec<_> = (0..3).map(|_| world.order()).collect();
        for order in &orders {
            running.issue(order.request()).await.unwrap();
        }
        let count = async |query: QueryRequest| {
            running
                .client
                .query(query, far())
                .await
                .map(|answer| answer.rows.len())
        };
        let serial = orders[1].fields.serial.to_string();
        let by_serial = QueryRequest {
            serial,
            ..QueryRequest::default()
        };
        assert_eq!(count(by_serial).await.unwrap(), 1);
        let by_identity = QueryRequest {
            identity: WEB.into(),
            ..QueryRequest::default()
        };
        assert_eq!(count(by_identity).await.unwrap(), 3);
        let other = QueryRequest {
            identity: "nobody".into(),
            ..QueryRequest::default()
        };
        assert_eq!(count(other).await.unwrap(), 0);
        let odd = QueryRequest {
            serial: "no hex".into(),
            ..QueryRequest::default()
        };
        assert_eq!(count(odd).await.unwrap_err().code(), "invalid");
        running.end().await;
    });
}

#[test]
fn a_denial_asked_for_at_length_is_recorded_in_short() {
    alone(
        "honest::a_denial_asked_for_at_length_is_recorded_in_short",
        async |world| {
            let running = world.start().await;
            let mut evidence = evidence(&world.issuer());
            evidence.caller.as_mut().unwrap().token_claims = "x".repeat(70_000);
            let denial = RecordDenial {
                evidence: Some(evidence),
                denial: Some(Denial {
                    code: "NO".into(),
                    ..Denial::default()
                }),
                ..RecordDenial::default()
            };
            running.client.record_denial(denial, far()).await.unwrap();
            let row = running.newest().await;
            assert_eq!(
                (&row["outcome"], &row["identity"]),
                (&"denied".into(), &WEB.into())
            );
            running.end().await;
        },
    );
}
