//! A front that was taken over and speaks the protocol itself. Each attempt is refused and
//! recorded; afterwards an honest request is still served.

use std::time::Duration;

use sealwright_gate::client::ClientError;
use sealwright_identity::{Clock, Digest, SystemClock, Timestamp, Validity};
use sealwright_proto::gate::{IssueRequest, Narrowing, PolicyVerdict, StringList};

use crate::der;
use crate::world::{Order, Running, alone, csr, validity_from};

const BASIC_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 0x13];
const KEY_USAGE: &[u8] = &[0x55, 0x1d, 0x0f];
const EXTENDED_KEY_USAGE: &[u8] = &[0x55, 0x1d, 0x25];
const UNKNOWN: &[u8] = &[0x2a, 0x03, 0x04];
/// codeSigning alone, 1.3.6.1.5.5.7.3.3.
const CODE_SIGNING: &[u8] = &[0x30, 0x0a, 6, 8, 0x2b, 6, 1, 5, 5, 7, 3, 3];
/// One `O=system:masters`.
fn masters() -> Vec<u8> {
    let attribute = [
        der::element(6, &[0x55, 4, 0x0a]),
        der::element(12, b"system:masters"),
    ];
    let attribute = der::element(0x30, &attribute.concat());
    der::element(0x30, &der::element(0x31, &attribute))
}

/// The attempt is refused in this way and is the newest record, with this code.
pub(crate) async fn refused(running: &Running, what: &str, request: IssueRequest, code: &str) {
    let error = running.issue(request).await.unwrap_err();
    assert!(
        matches!(error, ClientError::Denied { .. } | ClientError::Invalid { .. }),
        "{what}: {error}"
    );
    let row = running.newest().await;
    assert_eq!(row["outcome"], "refused", "{what}: {row}");
    assert_eq!(row["denial"]["code"], code, "{what}: {row}");
    assert_eq!(row["denial"]["policy"], "gate", "{what}: {row}");
}

#[test]
fn forged_certificates_are_refused_and_recorded() {
    alone(
        "hostile::forged_certificates_are_refused_and_recorded",
        async |world| {
            let running = world.start().await;
            let order = world.order();
            let tbs = order.tbs();
            let forged =
                |oid, critical, value| der::with_extension(&tbs, oid, der::extension(oid, critical, value));
            let table = [
                (
                    "CA:TRUE",
                    forged(BASIC_CONSTRAINTS, true, &[0x30, 3, 1, 1, 0xff]),
                    "tbs_is_ca",
                ),
                (
                    "keyCertSign",
                    forged(KEY_USAGE, true, &[3, 2, 2, 0x84]),
                    "tbs_key_usage",
                ),
                (
                    "codeSigning",
                    forged(EXTENDED_KEY_USAGE, false, CODE_SIGNING),
                    "tbs_extended_key_usage",
                ),
                (
                    "unknown extension",
                    forged(UNKNOWN, false, &[5, 0]),
                    "tbs_unknown_extension",
                ),
                (
                    "O=system:masters",
                    der::with_subject(&tbs, masters()),
                    "tbs_subject",
                ),
                ("truncated", tbs[..tbs.len() - 1].to_vec(), "tbs_malformed"),
                ("not DER at all", b"sign me".to_vec(), "tbs_malformed"),
            ];
            for (what, tbs, code) in table {
                refused(&running, what, order.request_with(tbs), code).await;
            }
            running.issue(order.request()).await.unwrap();
            running.end().await;
        },
    );
}

#[test]
fn fields_outside_the_ceiling_are_refused_and_recorded() {
    alone(
        "hostile::fields_outside_the_ceiling_are_refused_and_recorded",
        async |world| {
            let running = world.start().await;
            let honest = world.order();
            running.issue(honest.request()).await.unwrap();

            let cheat = |change: &dyn Fn(&mut Order)| {
                let mut order = world.order();
                change(&mut order);
                order.request()
            };
            let far_future: Timestamp = "2030-01-01T00:00:00Z".parse().unwrap();
            let now = SystemClock.now();
            let year = Duration::from_secs(365 * 86_400);
            let table: [(&str, IssueRequest, &str); 9] = [
                (
                    "foreign trust domain",
                    cheat(&|order| order.fields.sans = vec!["URI:spiffe://other/ns/a/sa/b".parse().unwrap()]),
                    "CEILING_NAME",
                ),
                (
                    "another's name",
                    cheat(&|order| {
                        order.fields.sans = vec![
                            "URI:spiffe://cluster.local/ns/kube-system/sa/admin"
                                .parse()
                                .unwrap(),
                        ];
                    }),
                    "evidence",
                ),
                (
                    "a DNS name outside the ceiling",
                    cheat(&|order| order.fields.sans.push("DNS:example.com".parse().unwrap())),
                    "CEILING_NAME",
                ),
                (
                    "a DNS name that no policy chose",
                    cheat(&|order| order.fields.sans.push("DNS:web.svc".parse().unwrap())),
                    "evidence",
                ),
                (
                    "notBefore in 2030",
                    cheat(&|order| {
                        let end = far_future.saturating_add(Duration::from_secs(3600));
                        order.fields.validity = Validity::new(far_future, end).unwrap();
                    }),
                    "CEILING_NOT_BEFORE",
                ),
                (
                    "a lifetime above the ceiling",
                    cheat(&|order| order.fields.validity = validity_from(now, year)),
                    "CEILING_LIFETIME",
                ),
                (
                    "another issuer's name",
                    cheat(&|order| {
                        order.fields.issuer_der = sealwright_x509::name::authority_name(None, "Other");
                    }),
                    "CEILING_ISSUER",
                ),
                (
                    "repeated serial",
                    cheat(&|order| order.fields.serial = honest.fields.serial.clone()),
                    "serial_taken",
                ),
                (
                    "another key than the CSR's",
                    cheat(&|order| order.csr = csr(&rcgen::KeyPair::generate().unwrap())),
                    "csr_key_mismatch",
                ),
            ];
            for (what, request, code) in table {
                refused(&running, what, request, code).await;
            }
            let mut unknown = world.order().request();
            unknown.issuer = "other".into();
            refused(&running, "unknown issuer", unknown, "unknown_issuer").await;
            let mut broken = world.order();
            *broken.csr.last_mut().unwrap() ^= 1;
            refused(
                &running,
                "a CSR signed by another key",
                broken.request(),
                "csr_signature",
            )
            .await;
            running.issue(world.order().request()).await.unwrap();
            running.end().await;
        },
    );
}

#[test]
fn evidence_that_does_not_justify_is_refused_and_recorded() {
    alone(
        "hostile::evidence_that_does_not_justify_is_refused_and_recorded",
        async |world| {
            let running = world.start().await;
            // The profile travels with the first request; the table shall not depend on it.
            running.issue(world.order().request()).await.unwrap();
            let narrowed = |narrowing: Narrowing| {
                move |order: &mut Order| order.decision().policies[0].narrowing = Some(narrowing.clone())
            };
            type Change = Box<dyn Fn(&mut Order)>;
            let table: Vec<(&str, Change)> = vec![
                (
                    "no evidence of a decision",
                    Box::new(|order| order.evidence.decision = None),
                ),
                ("no caller", Box::new(|order| order.evidence.caller = None)),
                ("no input", Box::new(|order| order.decision().input.clear())),
                (
                    "a missing policy",
                    Box::new(|order| drop(order.decision().policies.pop())),
                ),
                (
                    "an extra policy",
                    Box::new(|order| {
                        let again = order.decision().policies[0].clone();
                        order.decision().policies.push(again);
                    }),
                ),
                (
                    "another order",
                    Box::new(|order| order.decision().policies.reverse()),
                ),
                (
                    "another module",
                    Box::new(|order| {
                        order.decision().policies[0].module = Digest::of(b"mine").to_string();
                    }),
                ),
                (
                    "other settings",
                    Box::new(|order| {
                        order.decision().policies[1].settings = Digest::of(b"mine").to_string();
                    }),
                ),
                (
                    "a denying policy",
                    Box::new(|order| order.decision().policies[1].verdict = "deny".into()),
                ),
                (
                    "an aborted policy",
                    Box::new(|order| order.decision().policies[1].verdict = "aborted".into()),
                ),
                (
                    "an odd verdict",
                    Box::new(|order| order.decision().policies[1].verdict = "Allow".into()),
                ),
                (
                    "no policies at all",
                    Box::new(|order| order.decision().policies = Vec::<PolicyVerdict>::new()),
                ),
                (
                    "a lifetime above the narrowing",
                    Box::new(narrowed(Narrowing {
                        lifetime_seconds: Some(3599),
                        ..Narrowing::default()
                    })),
                ),
                (
                    "a usage outside the narrowing",
                    Box::new(narrowed(Narrowing {
                        usages: Some(StringList {
                            items: vec!["client".into()],
                        }),
                        ..Narrowing::default()
                    })),
                ),
                (
                    "a name outside the narrowing",
                    Box::new(narrowed(Narrowing {
                        names: Some(StringList { items: Vec::new() }),
                        ..Narrowing::default()
                    })),
                ),
                (
                    "a lifetime above the grant",
                    Box::new(|order| {
                        order.decision().granted = Some(Narrowing {
                            lifetime_seconds: Some(1),
                            ..Narrowing::default()
                        });
                    }),
                ),
                (
                    "an identity of another trust domain",
                    Box::new(|order| {
                        let caller = order.evidence.caller.as_mut().unwrap();
                        caller.identities.push("spiffe://other/ns/a/sa/b".into());
                    }),
                ),
            ];
            for (what, change) in table {
                let mut order = world.order();
                change(&mut order);
                let code = if order.evidence.decision.is_none() {
                    "engine_profile"
                } else {
                    "evidence"
                };
                refused(&running, what, order.request(), code).await;
            }
            let mut order = world.order();
            order.decision().engine_profile_digest = Digest::of(b"other").to_string();
            order.decision().engine_profile = String::new();
            refused(
                &running,
                "an engine nobody described",
                order.request(),
                "engine_profile",
            )
            .await;
            running.issue(world.order().request()).await.unwrap();
            running.end().await;
        },
    );
}

#[test]
fn a_record_beyond_its_bound_is_refused_and_recorded_in_short() {
    alone(
        "hostile::a_record_beyond_its_bound_is_refused_and_recorded_in_short",
        async |world| {
            let running = world.start().await;
            let mut order = world.order();
            order.evidence.caller.as_mut().unwrap().token_claims = "x".repeat(70_000);
            refused(&running, "a huge record", order.request(), "record_too_large").await;
            running.issue(world.order().request()).await.unwrap();
            running.end().await;
        },
    );
}
