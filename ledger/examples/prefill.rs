//! Fills a ledger, for measurements of large ones: `prefill LEDGER CERTIFICATES`.
//!
//! Each certificate is two entries, as the gate writes them, with a serial of its own and one of 100,000 names; only
//! the evidence is short. The chain is real and `sealwright log verify` finds nothing wrong. What is not as in the gate is
//! the speed: the first pair goes through the writer, the others are put in beside it in large transactions without
//! a sync. So this is for a ledger that nobody writes and nobody needs.

#![allow(clippy::print_stdout, reason = "a tool for measurements")]

use std::{path::Path, sync::Arc};

use sealwright_identity::{Clock as _, Digest, SerialNumber, SystemClock, Timestamp};
use sealwright_ledger::{
    CertificateEntry, CertificateKind, DecisionEntry, EntryKind, Ledger, LedgerConfig, PolicyRef,
    chain::RawEntry,
};
use sha2::{Digest as _, Sha256};
use sqlx::{
    AssertSqlSafe, Connection as _, Row as _, SqliteConnection,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous},
};

type Failure = Box<dyn std::error::Error>;

/// Certificates in one transaction.
const BATCH: u64 = 24_992;
/// Certificates in one statement.
const PIECE: u64 = 32;
const NAMES: u64 = 100_000;
/// Stands where the number of a name goes.
const PLACEHOLDER: &str = "0000000";

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [path, certificates] = arguments.as_slice() else {
        return Err("usage: prefill LEDGER CERTIFICATES".into());
    };
    let (path, certificates) = (Path::new(path), certificates.parse::<u64>()?);
    if certificates == 0 {
        return Ok(());
    }
    through_the_writer(path).await?;
    let mut bulk = Bulk::open(path).await?;
    let mut left = certificates - 1;
    while left > 0 {
        let now = left.min(BATCH);
        bulk.transaction(now).await?;
        left -= now;
    }
    bulk.connection.close().await?;
    println!("{} entries", bulk.head.sequence);
    Ok(())
}

fn name(number: &str) -> String {
    format!("spiffe://cluster.local/ns/prefill/sa/app-{number}")
}

/// DER of a SEQUENCE that is shorter than 128 bytes.
fn sequence(content: &[u8]) -> Result<Vec<u8>, Failure> {
    let length = u8::try_from(content.len())?;
    Ok([&[0x30, length][..], content].concat())
}

/// The pair that the others are like.
async fn through_the_writer(path: &Path) -> Result<(), Failure> {
    let ledger = Ledger::open(path, LedgerConfig::default(), Arc::new(SystemClock)).await?;
    let tbs = sequence(&[4, 2, 7, 7])?;
    let decision = DecisionEntry {
        issuer: "default".into(),
        issuer_key: Digest::of(b"issuer key"),
        serial: Some(SerialNumber::random()?),
        identities: vec![name(PLACEHOLDER)],
        policies: vec![PolicyRef {
            name: "baseline".into(),
            module: Digest::of(b"module"),
            settings: Digest::of(b"{}"),
            verdict: "allow".into(),
            fuel: 10_000,
        }],
        csr: vec![0x30; 16],
        tbs: tbs.clone(),
        evidence: vec![7; 16],
        kind: CertificateKind::Workload,
        denial: None,
        renewal: None,
        set: None,
    };
    let appended = ledger.append(&decision).await?;
    let certificate = sequence(&[&tbs[..], &sequence(&[6, 1, 1])?, &[3, 2, 0, 1]].concat())?;
    let certificate = CertificateEntry {
        decision: appended.sequence,
        certificate,
    };
    ledger.complete(&certificate).await?;
    ledger.close().await;
    Ok(())
}

struct Bulk {
    connection: SqliteConnection,
    head: RawEntry,
    decision: Vec<u8>,
    certificate: Vec<u8>,
    /// Where the number of the name is in the decision.
    number_at: usize,
    written: u64,
}

impl Bulk {
    async fn open(path: &Path) -> Result<Self, Failure> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Off)
            .pragma("cache_size", "-1000000");
        let mut connection = SqliteConnection::connect_with(&options).await?;
        let rows = sqlx::query(
            "SELECT sequence, kind, recorded_at, settled, refers, serial, previous, hash, body FROM entries \
             ORDER BY sequence DESC LIMIT 2",
        )
        .fetch_all(&mut connection)
        .await?;
        let [last, before] = rows.as_slice() else {
            return Err("the pair is not there".into());
        };
        let digest = |bytes: Vec<u8>| bytes.try_into().map(Digest::from_bytes);
        let head = RawEntry {
            sequence: u64::try_from(last.get::<i64, _>(0))?,
            kind: last.get(1),
            recorded_at: Timestamp::from_micros(last.get(2)),
            settled: u64::try_from(last.get::<i64, _>(3))?,
            refers: Some(u64::try_from(last.get::<i64, _>(4))?),
            serial: last.get(5),
            previous: digest(last.get(6)).map_err(|_| "a hash has 32 bytes")?,
            hash: digest(last.get(7)).map_err(|_| "a hash has 32 bytes")?,
            body: last.get(8),
        };
        if head.computed_hash() != head.hash {
            return Err("the last entry does not hash to what it says".into());
        }
        let decision: Vec<u8> = before.get(8);
        let name = name(PLACEHOLDER);
        let number_at = decision
            .windows(name.len())
            .position(|part| part == name.as_bytes())
            .map(|start| start + name.len() - PLACEHOLDER.len())
            .ok_or("the decision does not hold its name")?;
        Ok(Self {
            connection,
            certificate: head.body.clone(),
            head,
            decision,
            number_at,
            written: 0,
        })
    }

    async fn transaction(&mut self, certificates: u64) -> Result<(), Failure> {
        sqlx::query("BEGIN IMMEDIATE")
            .execute(&mut self.connection)
            .await?;
        let mut left = certificates;
        while left > 0 {
            let now = left.min(PIECE);
            self.piece(now).await?;
            left -= now;
        }
        sqlx::query("COMMIT").execute(&mut self.connection).await?;
        Ok(())
    }

    async fn piece(&mut self, certificates: u64) -> Result<(), Failure> {
        let (mut entries, mut tags) = (Vec::new(), Vec::new());
        for _ in 0..certificates {
            self.written += 1;
            let number = format!("{:07}", self.written % NAMES);
            let mut body = self.decision.clone();
            body.get_mut(self.number_at..self.number_at + number.len())
                .ok_or("the name has another length")?
                .copy_from_slice(number.as_bytes());
            let serial = SerialNumber::random()?.as_bytes().to_vec();
            let decision = self.next(EntryKind::Decision, None, Some(serial), body);
            let refers = decision.sequence;
            tags.push((tag(&name(&number)), refers));
            self.head = decision.clone();
            let certificate = self.next(
                EntryKind::Certificate,
                Some(refers),
                None,
                self.certificate.clone(),
            );
            self.head = certificate.clone();
            entries.extend([decision, certificate]);
        }
        self.insert(&entries, &tags).await
    }

    /// The entry behind the last one. A decision is the oldest open one; behind a certificate none is open.
    fn next(&self, kind: EntryKind, refers: Option<u64>, serial: Option<Vec<u8>>, body: Vec<u8>) -> RawEntry {
        let sequence = self.head.sequence + 1;
        let mut entry = RawEntry {
            sequence,
            kind: kind.code(),
            recorded_at: SystemClock.now(),
            refers,
            settled: if serial.is_some() { sequence } else { sequence + 1 },
            serial,
            body,
            previous: self.head.hash,
            hash: self.head.hash,
        };
        entry.hash = entry.computed_hash();
        entry
    }

    async fn insert(&mut self, entries: &[RawEntry], tags: &[(i64, u64)]) -> Result<(), Failure> {
        let columns = "sequence, kind, recorded_at, settled, refers, serial, previous, hash, body";
        let text = values(
            &format!("entries ({columns})"),
            "(?, ?, ?, ?, ?, ?, ?, ?, ?)",
            entries.len(),
        );
        let mut query = sqlx::query(AssertSqlSafe(text));
        for entry in entries {
            query = query
                .bind(i64::try_from(entry.sequence)?)
                .bind(entry.kind)
                .bind(entry.recorded_at.micros())
                .bind(i64::try_from(entry.settled)?)
                .bind(entry.refers.map(i64::try_from).transpose()?)
                .bind(entry.serial.as_deref())
                .bind(entry.previous.as_bytes().as_slice())
                .bind(entry.hash.as_bytes().as_slice())
                .bind(entry.body.as_slice());
        }
        query.execute(&mut self.connection).await?;
        let mut query = sqlx::query(AssertSqlSafe(values(
            "lookups (tag, sequence)",
            "(?, ?)",
            tags.len(),
        )));
        for (tag, sequence) in tags {
            query = query.bind(tag).bind(i64::try_from(*sequence)?);
        }
        query.execute(&mut self.connection).await?;
        Ok(())
    }
}

fn values(table: &str, row: &str, rows: usize) -> String {
    format!("INSERT INTO {table} VALUES {}", vec![row; rows].join(", "))
}

/// As the ledger finds names: the first 8 octets of a labelled SHA-256.
fn tag(identity: &str) -> i64 {
    let mut hash = Sha256::new();
    hash.update(b"sealwright/ledger/lookup/v1\0identity\0");
    hash.update(identity.as_bytes());
    let digest: [u8; 32] = hash.finalize().into();
    digest
        .first_chunk::<8>()
        .map_or(0, |first| i64::from_be_bytes(*first))
}
