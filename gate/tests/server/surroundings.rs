//! Token, PIN, home, ledger and peers that are not as they should be.

use std::fs;
use std::sync::Arc;

use sealwright_gate::client::{ClientLimits, GateClient};
use sealwright_gate::config::{PeerConfig, Role};
use sealwright_gate::server::{Command, EXIT_CONFIG, EXIT_STATE, StreamSource, ledger_path, run};
use sealwright_identity::{Digest, SystemClock};
use sealwright_ledger::{CertificateKind, DecisionEntry, Ledger, LedgerConfig, LedgerReader};
use sealwright_proto::gate::QueryRequest;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;

use crate::world::{WEB, alone, far, sign_outside, take_apart};

#[test]
fn without_its_token_the_gate_serves_reads_and_signs_once_it_comes() {
    alone(
        "surroundings::without_its_token_the_gate_serves_reads_and_signs_once_it_comes",
        async |world| {
            let (tokens, away) = (world.folder.join("tokens"), world.folder.join("away"));
            fs::rename(&tokens, &away).unwrap();
            fs::create_dir(&tokens).unwrap();
            let running = world.start().await;
            let status = running.client.status(far()).await.unwrap();
            assert!(
                !status.ready && status.reasons[0].starts_with("token: "),
                "{:?}",
                status.reasons
            );
            let refused = running.issue(world.order().request()).await.unwrap_err();
            assert_eq!(refused.code(), "unavailable");
            let rows = running
                .client
                .query(QueryRequest::default(), far())
                .await
                .unwrap();
            assert!(rows.rows.is_empty());

            fs::remove_dir(&tokens).unwrap();
            fs::rename(&away, &tokens).unwrap();
            running.until_ready(true).await;
            running.issue(world.order().request()).await.unwrap();
            running.end().await;
        },
    );
}

#[test]
fn a_wrong_pin_ends_the_gate_for_good() {
    alone(
        "surroundings::a_wrong_pin_ends_the_gate_for_good",
        async |world| {
            fs::write(world.folder.join("pin"), "wrong").unwrap();
            // The second start does not even try: the marker is there.
            for _ in 0..2 {
                assert_eq!(world.start_in_vain().await.exit_code(), EXIT_STATE);
            }
        },
    );
}

#[test]
fn a_chain_that_does_not_fit_the_key_is_a_configuration_error() {
    alone(
        "surroundings::a_chain_that_does_not_fit_the_key_is_a_configuration_error",
        async |world| {
            let other = rcgen::KeyPair::generate().unwrap();
            world.write_chain(&rcgen::PublicKeyData::subject_public_key_info(&other));
            let error = world.start_in_vain().await;
            assert_eq!(error.exit_code(), EXIT_CONFIG, "{error}");
        },
    );
}

#[test]
fn a_home_has_one_gate() {
    alone("surroundings::a_home_has_one_gate", async |world| {
        let running = world.start().await;
        running.until_ready(true).await;
        assert_eq!(world.start_in_vain().await.exit_code(), EXIT_STATE);
        running.issue(world.order().request()).await.unwrap();
        running.end().await;
    });
}

#[test]
fn what_an_earlier_run_left_open_is_unreleased_and_keeps_its_serial() {
    alone(
        "surroundings::what_an_earlier_run_left_open_is_unreleased_and_keeps_its_serial",
        async |world| {
            let order = world.order();
            let path = ledger_path(&world.file.gate.home);
            fs::create_dir_all(&world.file.gate.home).unwrap();
            let ledger = Ledger::open(&path, LedgerConfig::default(), Arc::new(SystemClock))
                .await
                .unwrap();
            let entry = DecisionEntry {
                issuer: "default".into(),
                issuer_key: Digest::of(b"key"),
                serial: Some(order.fields.serial.clone()),
                identities: vec![WEB.into()],
                policies: Vec::new(),
                csr: order.csr.clone(),
                tbs: order.tbs(),
                evidence: Vec::new(),
                kind: CertificateKind::Workload,
                denial: None,
                renewal: None,
                set: None,
            };
            ledger.append(&entry).await.unwrap();
            ledger.close().await;
            drop(ledger);

            let running = world.start().await;
            assert_eq!(running.newest().await["outcome"], "unreleased");
            let refused = running.issue(order.request()).await.unwrap_err();
            assert_eq!(refused.code(), "denied");
            running.end().await;
        },
    );
}

#[test]
fn garbage_ends_the_inherited_stream_and_the_gate() {
    alone(
        "surroundings::garbage_ends_the_inherited_stream_and_the_gate",
        async |world| {
            for garbage in [&[0xff; 16][..], &[0, 0, 0, 2, 0xff, 0xff][..]] {
                let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
                let (_commands, receiver) = mpsc::channel(1);
                let gate = tokio::spawn(run(world.config(), StreamSource::Inherited(theirs), receiver));
                ours.set_nonblocking(true).unwrap();
                let mut front = tokio::net::UnixStream::from_std(ours).unwrap();
                front.write_all(garbage).await.unwrap();
                assert_eq!(front.read(&mut [0; 16]).await.unwrap(), 0);
                gate.await.unwrap().unwrap();
            }
        },
    );
}

#[test]
fn the_named_socket_gives_each_user_its_roles() {
    alone(
        "surroundings::the_named_socket_gives_each_user_its_roles",
        async |mut world| {
            let socket = world.folder.join("run/gate.sock");
            let uid = fs::metadata(&world.folder)
                .map(|m| std::os::unix::fs::MetadataExt::uid(&m))
                .unwrap();
            world.file.gate.socket = Some(socket.clone());
            for (roles, may_issue, may_read) in
                [(vec![Role::Read], false, true), (vec![Role::Issue], true, false)]
            {
                world.file.gate.peers = vec![PeerConfig { uid, roles }];
                let (commands, receiver) = mpsc::channel(1);
                let gate = tokio::spawn(run(world.config(), StreamSource::Socket, receiver));
                let stream = loop {
                    match tokio::net::UnixStream::connect(&socket).await {
                        Ok(stream) => break stream,
                        Err(_not_yet) => tokio::time::sleep(std::time::Duration::from_millis(10)).await,
                    }
                };
                let (sender, streams) = mpsc::channel(1);
                sender.send(stream).await.unwrap();
                let client = GateClient::new(streams, ClientLimits::default());
                client
                    .state()
                    .wait_for(|state| {
                        matches!(state, sealwright_gate::client::ConnectionState::Connected { .. })
                    })
                    .await
                    .unwrap();
                let issued = client.issue(world.order().request(), far()).await;
                assert_eq!(
                    issued.as_ref().err().map(|e| e.code()),
                    (!may_issue).then_some("forbidden")
                );
                let read = client.query(QueryRequest::default(), far()).await;
                assert_eq!(
                    read.as_ref().err().map(|e| e.code()),
                    (!may_read).then_some("forbidden")
                );
                client.status(far()).await.unwrap();
                commands.send(Command::Stop).await.unwrap();
                gate.await.unwrap().unwrap();
            }
            // A stranger gets nothing but the end of the stream.
            world.file.gate.peers = vec![PeerConfig {
                uid: uid + 1,
                roles: vec![Role::Read],
            }];
            let (commands, receiver) = mpsc::channel(1);
            let gate = tokio::spawn(run(world.config(), StreamSource::Socket, receiver));
            let mut stream = loop {
                match tokio::net::UnixStream::connect(&socket).await {
                    Ok(stream) => break stream,
                    Err(_not_yet) => tokio::time::sleep(std::time::Duration::from_millis(10)).await,
                }
            };
            assert_eq!(stream.read(&mut [0; 16]).await.unwrap(), 0);
            commands.send(Command::Stop).await.unwrap();
            gate.await.unwrap().unwrap();
        },
    );
}

#[test]
fn a_reload_takes_new_policies_and_keeps_the_old_on_error() {
    alone(
        "surroundings::a_reload_takes_new_policies_and_keeps_the_old_on_error",
        async |world| {
            let running = world.start().await;
            let old = world.order();
            fs::remove_file(world.folder.join("baseline.wasm")).unwrap();
            running.commands.send(Command::Reload).await.unwrap();
            running.issue(old.request()).await.unwrap();

            fs::write(world.folder.join("baseline.wasm"), b"another").unwrap();
            let new = world.order();
            running.commands.send(Command::Reload).await.unwrap();
            // Until the reload has happened the new evidence is refused.
            while running.issue(new.request()).await.is_err() {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
            let refused = running
                .issue(world_with_serial(&old).request())
                .await
                .unwrap_err();
            assert_eq!(refused.code(), "denied");
            running.end().await;
        },
    );
}

fn world_with_serial(order: &crate::world::Order) -> crate::world::Order {
    let mut order = order.clone();
    order.fields.serial = sealwright_identity::SerialNumber::random().unwrap();
    order
}

#[test]
fn every_start_and_what_it_runs_is_in_the_ledger() {
    alone(
        "surroundings::every_start_and_what_it_runs_is_in_the_ledger",
        async |world| {
            let running = world.start().await;
            let issued = running.issue(world.order().request()).await.unwrap();
            running.end().await;
            let reader = LedgerReader::open(&ledger_path(&world.file.gate.home))
                .await
                .unwrap();
            let start = reader.start_before(issued.sequence).await.unwrap().unwrap();
            let shown = reader
                .show(&sealwright_ledger::Selector::Sequence(start.sequence))
                .await
                .unwrap();
            let start = &shown["start"];
            let issuer = world.issuer();
            assert_eq!(start["issuers"][0]["key"], issuer.chain.key_digest().to_string());
            assert_eq!(
                start["issuers"][0]["policies"][0]["module"],
                Digest::of(b"first").to_string()
            );
            assert_eq!(start["token"]["label"], "gate-test");
            for blob in [Digest::of(b"first"), Digest::of(crate::world::PROFILE.as_bytes())] {
                assert!(reader.blob(&blob).await.unwrap().is_some());
            }
            reader.close().await;
        },
    );
}

#[test]
fn what_the_token_signs_is_what_the_chain_verifies() {
    alone(
        "surroundings::what_the_token_signs_is_what_the_chain_verifies",
        async |world| {
            // The negative of the honest path: another message, another answer.
            let token = world.open_token();
            let selector = "pkcs11:object=issuing;id=%01".parse().unwrap();
            let key = token.find_key(&selector).unwrap();
            let order = world.order();
            let tbs = sealwright_x509::tbs::LeafTbs::build(&order.fields).unwrap();
            let signature = sign_outside(token, &key, tbs.clone()).await;
            let (bytes, signature) = take_apart(&tbs.assemble(&signature));
            order.issuer.chain.verify(&bytes, &signature).unwrap();
            let other = world.order();
            order.issuer.chain.verify(&other.tbs(), &signature).unwrap_err();
        },
    );
}
