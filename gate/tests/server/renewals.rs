//! Callers with certificates: the ledger says which may be renewed, and since when.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use rcgen::{KeyPair, PublicKeyData, SigningKey};
use sealwright_identity::{Clock, ManualClock, SystemClock, Timestamp};
use sealwright_proto::gate::{Origin, origin::Standing};
use sealwright_x509::certificate::CertificateRef;
use sealwright_x509::tbs::LeafTbs;
use sealwright_x509::{SignatureAlgorithm, pem};
use serde_json::json;

use crate::hostile::refused;
use crate::world::{Order, Running, World, alone, far, sign_outside, validity_from};

const ADMIN: &str = "spiffe://cluster.local/ns/kube-system/sa/admin";

/// What an honest front makes of a caller with this certificate.
fn renewal(world: &World, certificate: &[u8], origin: &Origin) -> Order {
    let mut order = world.order();
    order.fields.validity = validity_from(world.clock.now(), Duration::from_secs(4 * 3600));
    let caller = order.caller();
    caller.source = "client-certificate".into();
    caller.authenticator = "mtls".into();
    caller.client_chain = vec![certificate.to_vec()];
    let told = match origin.standing() {
        Standing::Released => json!({
            "previous_serial": origin.serial,
            "first_authenticated_at": seconds(origin),
        }),
        _ => json!({}),
    };
    order.tell_policies(told);
    order
}

fn seconds(origin: &Origin) -> i64 {
    Timestamp::from_micros(origin.first_authenticated_micros).unix_seconds()
}

impl Running {
    async fn origin(&self, certificate: &[u8]) -> Origin {
        self.client.origin(certificate.to_vec(), far()).await.unwrap()
    }

    /// The certificate that comes of a renewal with this one.
    async fn renew(&self, world: &World, certificate: &[u8]) -> Vec<u8> {
        let origin = self.origin(certificate).await;
        assert_eq!(origin.standing(), Standing::Released);
        let order = renewal(world, certificate, &origin);
        self.issue(order.request()).await.unwrap().certificate.to_vec()
    }
}

/// Of the issuing key, made around the gate.
async fn never_released(world: &World) -> Vec<u8> {
    let token = world.open_token();
    let selector = "pkcs11:object=issuing;id=%01".parse().unwrap();
    let key = token.find_key(&selector).unwrap();
    let tbs = LeafTbs::build(&world.order().fields).unwrap();
    let signature = sign_outside(token, &key, tbs.clone()).await;
    tbs.assemble(&signature)
}

/// Of another authority: the root itself.
fn foreign(world: &World) -> Vec<u8> {
    let key = KeyPair::from_pem(&fs::read_to_string(world.folder.join("root-key.pem")).unwrap()).unwrap();
    let roots = pem::decode_all(
        pem::CERTIFICATE,
        fs::read(world.folder.join("roots.pem")).unwrap(),
    )
    .unwrap();
    let root = CertificateRef::parse(&roots[0]).unwrap();
    let mut fields = world.order().fields;
    fields.issuer_der = root.subject_der().to_vec();
    fields.aki = root.subject_key_identifier().unwrap().unwrap().to_vec();
    fields.signature_algorithm = SignatureAlgorithm::for_ca_key(sealwright_identity::KeyType::P256);
    fields.spki_der = KeyPair::generate().unwrap().subject_public_key_info();
    let tbs = LeafTbs::build(&fields).unwrap();
    tbs.assemble(&key.sign(tbs.as_der()).unwrap())
}

#[test]
fn a_chain_of_renewals_is_recorded_and_no_cheat_gets_into_it() {
    alone(
        "renewals::a_chain_of_renewals_is_recorded_and_no_cheat_gets_into_it",
        async |world| {
            let unknown = never_released(&world).await;
            let running = world.start().await;
            running.until_ready(true).await;
            let first = running.issue(world.order().request()).await.unwrap();
            let began = running.newest().await["recorded_at"].clone();
            let second = running.renew(&world, &first.certificate).await;
            let third = running.renew(&world, &second).await;
            let row = running.newest().await;
            let previous = CertificateRef::parse(&second).unwrap().serial().to_string();
            assert_eq!(row["previous_serial"], previous);
            assert_eq!(row["first_authenticated_at"], began);
            assert_ne!(row["recorded_at"], began);

            let origin = running.origin(&third).await;
            let honest = || renewal(&world, &third, &origin);
            let with = |change: &dyn Fn(&mut Order)| {
                let mut order = honest();
                change(&mut order);
                order.request()
            };
            let told = |told: serde_json::Value| with(&move |order| order.tell_policies(told.clone()));
            let (serial, at) = (origin.serial.clone(), seconds(&origin));
            let self_signed = rcgen::CertificateParams::default();
            let self_signed = self_signed.self_signed(&KeyPair::generate().unwrap()).unwrap();
            let by = |certificate: &[u8], standing: Standing| {
                let origin = Origin {
                    standing: standing.into(),
                    ..Origin::default()
                };
                renewal(&world, certificate, &origin).request()
            };
            assert_eq!(running.origin(&unknown).await.standing(), Standing::NotReleased);
            let mut altered = third.clone();
            *altered.last_mut().unwrap() ^= 1;
            let table = [
                (
                    "a serial that was never released",
                    by(&unknown, Standing::NotReleased),
                    "certificate_not_released",
                ),
                (
                    "a serial with other bytes",
                    by(&altered, Standing::Foreign),
                    "client_certificate_untrusted",
                ),
                (
                    "an authority of its own",
                    by(self_signed.der(), Standing::Foreign),
                    "client_certificate_untrusted",
                ),
                (
                    "no certificate",
                    with(&|order| {
                        order.caller().client_chain.clear();
                        order.tell_policies(json!({}));
                    }),
                    "client_certificate_missing",
                ),
                (
                    "no DER",
                    by(b"certificate", Standing::Foreign),
                    "client_certificate_malformed",
                ),
                (
                    "another's name",
                    with(&|order| {
                        order.fields.sans = vec![format!("URI:{ADMIN}").parse().unwrap()];
                        order.caller().identities = vec![ADMIN.into()];
                        order.tell_policies(json!({"previous_serial": serial, "first_authenticated_at": at}));
                    }),
                    "caller_mismatch",
                ),
                ("policies told of no renewal", told(json!({})), "caller_input"),
                (
                    "policies told of a later beginning",
                    told(json!({"previous_serial": serial, "first_authenticated_at": at + 1})),
                    "caller_input",
                ),
                (
                    "policies told of another serial",
                    told(json!({"previous_serial": "7f", "first_authenticated_at": at})),
                    "caller_input",
                ),
                (
                    "a token's caller with a renewal",
                    with(&|order| order.caller().source = "jwt".into()),
                    "caller_input",
                ),
            ];
            for (what, request, code) in table {
                refused(&running, what, request, code).await;
            }
            running.renew(&world, &third).await;

            // Another authority of the same root has no origin here, and is let in.
            let foreign = foreign(&world);
            let origin = running.origin(&foreign).await;
            assert_eq!(origin.standing(), Standing::Foreign);
            let order = renewal(&world, &foreign, &origin);
            running.issue(order.request()).await.unwrap();
            let row = running.newest().await;
            assert_eq!(row["previous_serial"], json!(null));
            assert_eq!(row["first_authenticated_at"], row["recorded_at"]);
            running.end().await;
        },
    );
}

#[test]
fn renewal_has_an_end() {
    alone("renewals::renewal_has_an_end", async |mut world| {
        let clock = ManualClock::at(SystemClock.now().truncated_to_seconds());
        world.clock = Arc::new(clock.clone());
        world.file.issuers[0].max_renewal_age = Some("1h".parse().unwrap());
        let running = world.start().await;
        running.until_ready(true).await;
        let mut order = world.order();
        order.fields.validity = validity_from(clock.now(), Duration::from_secs(4 * 3600));
        let first = running.issue(order.request()).await.unwrap().certificate;

        clock.advance(Duration::from_secs(1800));
        let second = running.renew(&world, &first).await;
        clock.advance(Duration::from_secs(1800));
        let third = running.renew(&world, &second).await;
        clock.advance(Duration::from_secs(1));
        // Whichever certificate of the chain: all began at the same time.
        for certificate in [&first[..], &second, &third] {
            let origin = running.origin(certificate).await;
            let order = renewal(&world, certificate, &origin);
            refused(&running, "a renewal too late", order.request(), "renewal_too_old").await;
        }
        clock.advance(Duration::from_secs(4 * 3600));
        let origin = running.origin(&first).await;
        let order = renewal(&world, &first, &origin);
        refused(
            &running,
            "a certificate that has ended",
            order.request(),
            "client_certificate_not_valid",
        )
        .await;
        running.end().await;
    });
}

#[test]
fn a_new_ledger_renews_nothing_of_an_old_one() {
    alone(
        "renewals::a_new_ledger_renews_nothing_of_an_old_one",
        async |world| {
            let running = world.start().await;
            running.until_ready(true).await;
            let first = running.issue(world.order().request()).await.unwrap().certificate;
            running.end().await;
            fs::remove_dir_all(world.folder.join("gate")).unwrap();
            let running = world.start().await;
            running.until_ready(true).await;
            running.issue(world.order().request()).await.unwrap();
            let origin = running.origin(&first).await;
            assert_eq!(origin.standing(), Standing::NotReleased);
            let order = renewal(&world, &first, &origin);
            refused(
                &running,
                "a record that is gone",
                order.request(),
                "certificate_not_released",
            )
            .await;
            running.end().await;
        },
    );
}
