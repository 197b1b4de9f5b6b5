//! A ledger in a folder of its own, and entries to put into it.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use sealwright_identity::{Digest, ManualClock, SerialNumber, Timestamp};
use sealwright_ledger::{
    CertificateEntry, CertificateKind, DecisionEntry, Denial, FailedEntry, IssuerFacts, Ledger, LedgerConfig,
    LedgerReader, PolicyFacts, PolicyRef, StartEntry, VerifyReport,
};
use tempfile::TempDir;

pub(crate) struct Home {
    pub(crate) folder: TempDir,
    pub(crate) clock: ManualClock,
}

impl Home {
    pub(crate) fn new() -> Self {
        let clock = ManualClock::at(Timestamp::from_unix_seconds(1_790_000_000));
        Self {
            folder: tempfile::tempdir().unwrap(),
            clock,
        }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("ledger.db")
    }

    pub(crate) async fn open(&self) -> Ledger {
        self.open_with(config()).await
    }

    pub(crate) async fn open_with(&self, config: LedgerConfig) -> Ledger {
        Ledger::open(&self.path(), config, Arc::new(self.clock.clone()))
            .await
            .unwrap()
    }

    pub(crate) fn tick(&self) {
        self.clock.advance(Duration::from_secs(60));
    }
}

pub(crate) fn config() -> LedgerConfig {
    LedgerConfig {
        disk_reserve_bytes: 0,
        max_records_per_second: 1_000_000,
        ..LedgerConfig::default()
    }
}

pub(crate) async fn verify(path: &Path) -> VerifyReport {
    let reader = LedgerReader::open(path).await.unwrap();
    let report = reader.verify(&mut |_| {}).await.unwrap();
    reader.close().await;
    report
}

pub(crate) fn serial(number: u64) -> SerialNumber {
    format!("7f{number:036x}").parse().unwrap()
}

pub(crate) fn name(number: u64) -> String {
    format!("spiffe://cluster.local/ns/test/sa/app-{number}")
}

pub(crate) fn decision(number: u64) -> DecisionEntry {
    DecisionEntry {
        issuer: "default".into(),
        issuer_key: Digest::of(b"issuer key"),
        serial: Some(serial(number)),
        identities: vec![name(number)],
        policies: vec![PolicyRef {
            name: "baseline".into(),
            module: Digest::of(b"module"),
            settings: Digest::of(b"{}"),
            verdict: "allow".into(),
            fuel: 10_000 + number,
        }],
        csr: noise(number, 300),
        tbs: sequence(&noise(number + 1, 400)),
        evidence: noise(number + 2, 1500),
        kind: CertificateKind::Workload,
        denial: None,
        renewal: None,
        set: None,
    }
}

pub(crate) fn denied(number: u64) -> DecisionEntry {
    let denial = Denial {
        policy: "baseline".into(),
        code: "NAMESPACE".into(),
        ..Denial::default()
    };
    DecisionEntry {
        serial: None,
        denial: Some(denial),
        ..decision(number)
    }
}

pub(crate) fn certificate(decision: u64, entry: &DecisionEntry) -> CertificateEntry {
    let mut content = entry.tbs.clone();
    content.extend_from_slice(&sequence(&[6, 1, 1]));
    content.extend_from_slice(&[3, 2, 0, 1]);
    CertificateEntry {
        decision,
        certificate: sequence(&content),
    }
}

pub(crate) fn failed(decision: u64) -> FailedEntry {
    FailedEntry {
        decision,
        reason: "CKR_DEVICE_ERROR".into(),
    }
}

pub(crate) fn start() -> StartEntry {
    StartEntry {
        version: "0.1.0".into(),
        binary: Digest::of(b"binary"),
        configuration: Digest::of(b"configuration"),
        module: None,
        token: None,
        issuers: vec![IssuerFacts {
            name: "default".into(),
            key: Digest::of(b"issuer key"),
            chain: None,
            policies: vec![PolicyFacts {
                name: "baseline".into(),
                module: Digest::of(b"module"),
                settings: Digest::of(b"{}"),
            }],
        }],
        os_user: "nobody".into(),
        pid: 1,
        details: Default::default(),
    }
}

/// Bytes that look random and are the same in each run.
fn noise(seed: u64, length: usize) -> Vec<u8> {
    (0u64..)
        .flat_map(|block| *Digest::of(format!("{seed}/{block}").as_bytes()).as_bytes())
        .take(length)
        .collect()
}

fn sequence(content: &[u8]) -> Vec<u8> {
    let length = content.len();
    let mut der = match length {
        0..=0x7f => vec![0x30, u8::try_from(length).unwrap()],
        _ => {
            let [high, low] = u16::try_from(length).unwrap().to_be_bytes();
            if high == 0 {
                vec![0x30, 0x81, low]
            } else {
                vec![0x30, 0x82, high, low]
            }
        }
    };
    der.extend_from_slice(content);
    der
}

/// One of everything: start, blobs, issued, serving, failed, denied, refused, unreleased, pending.
pub(crate) async fn one_of_everything(home: &Home) {
    use sealwright_ledger::BlobKind;
    let ledger = home.open().await;
    ledger.append(&decision(100)).await.unwrap();
    ledger.close().await;

    let ledger = home.open().await;
    ledger.mark_unreleased().await.unwrap();
    ledger.start(&start()).await.unwrap();
    ledger.put_blob(BlobKind::Module, b"module").await.unwrap();
    ledger.put_blob(BlobKind::Settings, b"{}").await.unwrap();
    home.tick();
    let mut issued = decision(1);
    issued.identities.push(name(2));
    let appended = ledger.append(&issued).await.unwrap();
    ledger
        .complete(&certificate(appended.sequence, &issued))
        .await
        .unwrap();
    home.tick();
    let serving = DecisionEntry {
        kind: CertificateKind::Serving,
        identities: vec!["localhost".into()],
        policies: Vec::new(),
        ..decision(3)
    };
    let appended = ledger.append(&serving).await.unwrap();
    ledger
        .complete(&certificate(appended.sequence, &serving))
        .await
        .unwrap();
    home.tick();
    let appended = ledger.append(&decision(4)).await.unwrap();
    ledger.append_failed(&failed(appended.sequence)).await.unwrap();
    ledger.append_denied(&denied(5)).await.unwrap();
    ledger
        .append_refused(&DecisionEntry {
            serial: Some(serial(1)),
            ..denied(1)
        })
        .await
        .unwrap();
    home.tick();
    ledger.append(&decision(6)).await.unwrap();
    ledger.close().await;
}
