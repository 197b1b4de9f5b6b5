use std::sync::Arc;

use rcgen::KeyPair;
use sealwright_gate::client::ClientLimits;
use sealwright_identity::{Clock, ManualClock};
use sealwright_runtime::readiness::Readiness;

use super::*;
use crate::testing::{DAY, FakeGate, TestPki, clock, end_entity};

fn pair(pki: &TestPki) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
    let key = KeyPair::generate().unwrap();
    let leaf = pki.issue(&end_entity(&[], &["localhost"]), &key);
    let chain = [leaf, pki.issuing_der.clone()].map(CertificateDer::from).to_vec();
    (chain, PrivatePkcs8KeyDer::from(key.serialize_der()).into())
}

#[test]
fn a_certificate_serves_only_while_it_is_valid_and_of_the_bundle() {
    let pki = TestPki::new();
    let (chain, key) = pair(&pki);
    let now = clock().now();
    let check_at = |bundle: &TrustBundle, at| check(chain.clone(), key.clone_key(), bundle, at);
    let serving = check_at(&pki.bundle(), now).unwrap();
    assert!(serving.validity.contains(now));
    let expired = now.saturating_add(Duration::from_secs(2 * 3600));
    check_at(&pki.bundle(), expired).unwrap_err();
    check_at(&TestPki::new().bundle(), now).unwrap_err();
    check(Vec::new(), key.clone_key(), &pki.bundle(), now).unwrap_err();
}

#[test]
fn renewal_is_due_after_two_thirds() {
    let at = |seconds| Timestamp::from_unix_seconds(seconds);
    let validity = Validity::new(at(1000), at(1300)).unwrap();
    assert_eq!(due(validity), at(1200));
}

struct Upkeep {
    clock: ManualClock,
    identity: ServerIdentity,
    readiness: Readiness,
    task: tokio::task::JoinHandle<()>,
}

fn upkeep(pki: &Arc<TestPki>, client: GateClient) -> Upkeep {
    let manual = ManualClock::at(clock().now());
    let (identity, readiness) = (ServerIdentity::new(), Readiness::new());
    let (_sender, bundle) = watch::channel(pki.bundle());
    let upkeep = ServingUpkeep::new(
        pki.path().join("front"),
        client,
        identity.clone(),
        bundle,
        Arc::new(manual.clone()),
        readiness.condition(CONDITION, "not yet"),
    );
    Upkeep {
        clock: manual,
        identity,
        readiness,
        task: tokio::spawn(upkeep.run()),
    }
}

async fn until(readiness: &Readiness, ready: bool) {
    let mut changes = readiness.watch();
    while readiness.is_ready() != ready {
        changes.changed().await;
    }
}

#[tokio::test]
async fn a_certificate_is_had_as_soon_as_the_gate_is_there_and_kept() {
    let pki = Arc::new(TestPki::new());
    let (gate, streams) = FakeGate::new(Arc::clone(&pki));
    let client = GateClient::new(streams, ClientLimits::default());
    let first = upkeep(&pki, client.clone());
    assert!(!first.readiness.is_ready());
    let connection = gate.connect().await;
    until(&first.readiness, true).await;
    assert!(first.identity.is_set());
    connection.abort();
    first.task.abort();

    // Without a gate the next one serves with what was kept.
    let second = upkeep(&pki, client);
    until(&second.readiness, true).await;
    let (chain, _key) = store::load(&pki.path().join("front")).unwrap().unwrap();
    let end = CertificateRef::parse(&chain[0]).unwrap().validity().not_after();
    assert!(second.clock.now() < end);
    second.task.abort();
}

#[tokio::test]
async fn an_expired_certificate_is_not_served() {
    let pki = Arc::new(TestPki::new());
    let (chain, key) = pair(&pki);
    store::save(&pki.path().join("front"), &chain, &key).unwrap();
    let (_gate, streams) = FakeGate::new(Arc::clone(&pki));
    let client = GateClient::new(streams, ClientLimits::default());
    let late = ManualClock::at(clock().now());
    late.advance(Duration::from_secs(DAY));
    let (identity, readiness) = (ServerIdentity::new(), Readiness::new());
    let (_sender, bundle) = watch::channel(pki.bundle());
    let mut upkeep = ServingUpkeep::new(
        pki.path().join("front"),
        client,
        identity.clone(),
        bundle,
        Arc::new(late),
        readiness.condition(CONDITION, "not yet"),
    );
    upkeep.restore();
    assert!(!identity.is_set() && !readiness.is_ready());
}
