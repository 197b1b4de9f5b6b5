//! What was accepted once is judged again: dates and roots of the moment.

use sealwright_identity::TrustBundle;

use super::{CART, Pki, SECTION};
use crate::authn::tests::support::pki::{TestCa, TestLeaf};
use crate::authn::tests::support::{Fixture, NOW, code, seconds};

#[tokio::test]
async fn dates_count_for_every_request_of_a_connection() {
    let pki = Pki::new();
    let chain = pki.chain(TestLeaf::new(&[CART]));
    assert_eq!(code(pki.fixture.by_chain(&chain).await), "accepted");
    pki.fixture.clock.advance(seconds(3600));
    assert_eq!(code(pki.fixture.by_chain(&chain).await), "accepted");
    pki.fixture.clock.advance(seconds(1));
    assert_eq!(
        code(pki.fixture.by_chain(&chain).await),
        "client_certificate_untrusted"
    );
    // A clock set back before the certificate's beginning.
    pki.fixture
        .clock
        .set(sealwright_identity::Timestamp::from_unix_seconds(NOW - 61));
    assert_eq!(
        code(pki.fixture.by_chain(&chain).await),
        "client_certificate_untrusted"
    );
}

#[tokio::test]
async fn the_intermediates_and_roots_dates_count_too() {
    let root = TestCa::root_until("root", NOW + 200);
    let issuing = root.intermediate("issuing", NOW + 100);
    let fixture = Fixture::new(SECTION, std::slice::from_ref(&root.der));
    let by_issuing = [issuing.issue(TestLeaf::new(&[CART])), issuing.der.clone()];
    let by_root = [root.issue(TestLeaf::new(&[CART]))];
    assert_eq!(code(fixture.by_chain(&by_issuing).await), "accepted");
    assert_eq!(code(fixture.by_chain(&by_root).await), "accepted");
    fixture.clock.advance(seconds(101));
    assert_eq!(
        code(fixture.by_chain(&by_issuing).await),
        "client_certificate_untrusted"
    );
    assert_eq!(code(fixture.by_chain(&by_root).await), "accepted");
    fixture.clock.advance(seconds(100));
    assert_eq!(
        code(fixture.by_chain(&by_root).await),
        "client_certificate_untrusted"
    );
}

#[tokio::test]
async fn the_bundle_of_the_moment_counts() {
    let pki = Pki::new();
    let successor = TestCa::root("root-2");
    let old = pki.chain(TestLeaf::new(&[CART]));
    let new = [successor.issue(TestLeaf::new(&[CART]))];
    assert_eq!(code(pki.fixture.by_chain(&old).await), "accepted");
    assert_eq!(
        code(pki.fixture.by_chain(&new).await),
        "client_certificate_untrusted"
    );

    let both = [pki.root.der.clone(), successor.der.clone()];
    pki.fixture.bundle.send(TrustBundle::from_ders(2, both)).unwrap();
    assert_eq!(code(pki.fixture.by_chain(&old).await), "accepted");
    assert_eq!(code(pki.fixture.by_chain(&new).await), "accepted");

    let next = TrustBundle::from_ders(3, [successor.der.clone()]);
    pki.fixture.bundle.send(next).unwrap();
    assert_eq!(
        code(pki.fixture.by_chain(&old).await),
        "client_certificate_untrusted"
    );
    assert_eq!(code(pki.fixture.by_chain(&new).await), "accepted");

    let junk = TrustBundle::from_ders(4, [b"no certificate".to_vec()]);
    pki.fixture.bundle.send(junk).unwrap();
    assert_eq!(
        code(pki.fixture.by_chain(&new).await),
        "client_certificate_untrusted"
    );
}
