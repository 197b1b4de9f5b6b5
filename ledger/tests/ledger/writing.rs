//! The write side: order, once-only, bounds, one writer.

use std::sync::Arc;

use sealwright_identity::{Digest, SystemClock};
use sealwright_ledger::{
    BlobKind, CeremonyEntry, DecisionEntry, Error, FailedEntry, Filter, Ledger, LedgerConfig, Outcome,
    Selector,
};
use sqlx::{AssertSqlSafe, Connection as _};

use crate::support::{
    Home, certificate, config, decision, denied, failed, name, one_of_everything, serial, start, verify,
};

#[tokio::test]
async fn a_decision_becomes_a_certificate() {
    let home = Home::new();
    let ledger = home.open().await;
    ledger.start(&start()).await.unwrap();
    let entry = decision(1);
    let appended = ledger.append(&entry).await.unwrap();
    assert_eq!(appended.sequence, 2);
    let reader = ledger.reader();
    assert_eq!(
        reader.list(&Filter::default()).await.unwrap()[0].outcome,
        Outcome::Pending
    );
    let completed = ledger.complete(&certificate(2, &entry)).await.unwrap();
    assert_eq!(completed.sequence, 3);
    assert_eq!(
        reader.list(&Filter::default()).await.unwrap()[0].outcome,
        Outcome::Issued
    );
    let record = reader.record(&Selector::Serial(serial(1))).await.unwrap();
    assert_eq!(record.certificate(), Some(certificate(2, &entry).certificate));
    assert_eq!(record.start.unwrap().sequence, 1);
    assert_eq!(reader.head().await.unwrap().hash, completed.hash);
    ledger.close().await;
    let report = verify(&home.path()).await;
    assert!(report.is_sound(), "{:?}", report.findings);
    assert_eq!((report.entries, report.open_decisions), (3, 0));
}

#[tokio::test]
async fn a_serial_is_used_once() {
    let home = Home::new();
    let ledger = home.open().await;
    ledger.append(&decision(1)).await.unwrap();
    let again = DecisionEntry {
        serial: Some(serial(1)),
        ..decision(2)
    };
    let error = ledger.append(&again).await.unwrap_err();
    assert!(matches!(&error, Error::SerialTaken { serial: taken } if *taken == serial(1)));
    assert!(ledger.serial_exists(&serial(1)).await.unwrap());
    assert!(!ledger.serial_exists(&serial(2)).await.unwrap());

    // In one batch, with others, which are written all the same.
    let (again, twin, other) = (
        again,
        DecisionEntry {
            serial: Some(serial(9)),
            ..decision(3)
        },
        DecisionEntry {
            serial: Some(serial(9)),
            ..decision(4)
        },
    );
    let sound = decision(5);
    let results = tokio::join!(
        ledger.append(&again),
        ledger.append(&twin),
        ledger.append(&other),
        ledger.append(&sound)
    );
    assert!(matches!(results.0, Err(Error::SerialTaken { .. })));
    assert!(results.1.is_ok());
    assert!(matches!(results.2, Err(Error::SerialTaken { .. })));
    assert!(results.3.is_ok());
    ledger.close().await;
    let report = verify(&home.path()).await;
    assert!(report.is_sound(), "{:?}", report.findings);
    assert_eq!(report.entries, 3);
}

#[tokio::test]
async fn a_decision_is_settled_once_and_by_its_own_certificate() {
    let home = Home::new();
    let ledger = home.open().await;
    let (one, two) = (decision(1), decision(2));
    ledger.append(&one).await.unwrap();
    ledger.append(&two).await.unwrap();
    assert!(matches!(
        ledger.complete(&certificate(1, &two)).await,
        Err(Error::OtherCertificate { decision: 1 })
    ));
    ledger.complete(&certificate(1, &one)).await.unwrap();
    assert!(matches!(
        ledger.complete(&certificate(1, &one)).await,
        Err(Error::NotPending { decision: 1 })
    ));
    assert!(matches!(
        ledger.append_failed(&failed(1)).await,
        Err(Error::NotPending { .. })
    ));
    assert!(matches!(
        ledger.append_failed(&failed(77)).await,
        Err(Error::NotPending { .. })
    ));
    ledger.append_failed(&failed(2)).await.unwrap();
}

#[tokio::test]
async fn what_an_earlier_run_left_open_becomes_unreleased() {
    let home = Home::new();
    let ledger = home.open().await;
    let entry = decision(1);
    ledger.append(&entry).await.unwrap();
    for number in 2..=100 {
        ledger.append(&decision(number)).await.unwrap();
    }
    ledger.complete(&certificate(1, &entry)).await.unwrap();
    ledger.close().await;

    let ledger = home.open().await;
    let fresh = ledger.append(&decision(200)).await.unwrap();
    let marked = ledger.mark_unreleased().await.unwrap();
    assert_eq!(marked, (2..=100).collect::<Vec<_>>());
    assert!(ledger.mark_unreleased().await.unwrap().is_empty());
    assert!(matches!(
        ledger.append_failed(&failed(2)).await,
        Err(Error::NotPending { .. })
    ));
    let rows = ledger.reader().list(&Filter::default()).await.unwrap();
    let unreleased = rows
        .iter()
        .filter(|row| row.outcome == Outcome::Unreleased)
        .count();
    assert_eq!(unreleased, 99);
    assert_eq!(rows.last().unwrap().outcome, Outcome::Pending);
    // Their serials stay taken.
    assert!(matches!(
        ledger.append(&decision(50)).await,
        Err(Error::SerialTaken { .. })
    ));
    ledger.append_failed(&failed(fresh.sequence)).await.unwrap();
    ledger.close().await;
    assert!(home.open().await.mark_unreleased().await.unwrap().is_empty());
    let report = verify(&home.path()).await;
    assert!(report.is_sound(), "{:?}", report.findings);
}

#[tokio::test]
async fn one_sync_carries_many() {
    let home = Home::new();
    let ledger = home.open().await;
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..500 {
        let ledger = ledger.clone();
        tasks.spawn(async move {
            let entry = decision(number);
            let appended = ledger.append(&entry).await.unwrap();
            ledger
                .complete(&certificate(appended.sequence, &entry))
                .await
                .unwrap();
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    let stats = ledger.stats();
    assert_eq!(stats.records, 1000);
    assert!(stats.commits < 500, "{} commits", stats.commits);
    ledger.close().await;
    let report = verify(&home.path()).await;
    assert!(report.is_sound(), "{:?}", report.findings);
    assert_eq!((report.entries, report.open_decisions), (1000, 0));
}

#[tokio::test]
async fn who_gives_up_leaves_no_open_decision() {
    let home = Home::new();
    let ledger = home.open().await;
    {
        let entry = decision(1);
        let append = ledger.append(&entry);
        tokio::pin!(append);
        // One poll: the entry is in the queue, and nobody waits for the answer any more.
        assert!(futures_poll(&mut append).await.is_none());
    }
    ledger.append(&decision(2)).await.unwrap();
    ledger.close().await;
    let report = verify(&home.path()).await;
    assert!(report.is_sound(), "{:?}", report.findings);
    assert_eq!(report.open_decisions, 1);
    let ledger = home.open().await;
    let rows = ledger.reader().list(&Filter::default()).await.unwrap();
    assert_eq!(
        rows.iter().map(|row| row.outcome).collect::<Vec<_>>(),
        [Outcome::Failed, Outcome::Pending]
    );
}

async fn futures_poll<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
    std::future::poll_fn(|context| match std::pin::Pin::new(&mut *future).poll(context) {
        std::task::Poll::Ready(output) => std::task::Poll::Ready(Some(output)),
        std::task::Poll::Pending => std::task::Poll::Ready(None),
    })
    .await
}

#[tokio::test]
async fn bounds_hold_and_leave_open_decisions_alone() {
    let home = Home::new();
    let ledger = home.open().await;
    let large = DecisionEntry {
        evidence: vec![0; 65 * 1024],
        ..decision(1)
    };
    assert!(matches!(
        ledger.append(&large).await,
        Err(Error::TooLarge { limit: 65_536, .. })
    ));
    assert!(matches!(ledger.append(&denied(1)).await, Err(Error::Invalid(_))));
    assert!(matches!(
        ledger.append_denied(&decision(1)).await,
        Err(Error::Invalid(_))
    ));
    let entry = decision(1);
    ledger.append(&entry).await.unwrap();
    ledger.close().await;
    assert!(matches!(ledger.append(&decision(2)).await, Err(Error::Stopped)));
    drop(ledger);

    // The disk is nearly full: no new decision, but what is open is settled.
    let ledger = home
        .open_with(LedgerConfig {
            disk_reserve_bytes: u64::MAX,
            ..config()
        })
        .await;
    assert!(matches!(
        ledger.append(&decision(2)).await,
        Err(Error::DiskReserve { .. })
    ));
    assert!(matches!(
        ledger.append_denied(&denied(2)).await,
        Err(Error::DiskReserve { .. })
    ));
    assert!(matches!(
        ledger.put_blob(BlobKind::Other, b"x").await,
        Err(Error::DiskReserve { .. })
    ));
    ledger.complete(&certificate(1, &entry)).await.unwrap();
    ledger.close().await;

    let ledger = home
        .open_with(LedgerConfig {
            max_records_per_second: 0,
            ..config()
        })
        .await;
    assert!(matches!(
        ledger.append(&decision(3)).await,
        Err(Error::RateLimited { per_second: 0 })
    ));
    // What the gate itself has to say is not held back by what is asked of it.
    ledger.start(&start()).await.unwrap();
    ledger.ceremony(&ceremony()).await.unwrap();
    ledger.close().await;

    let ledger = home
        .open_with(LedgerConfig {
            max_pending: 1,
            ..config()
        })
        .await;
    ledger.append(&decision(4)).await.unwrap();
    assert!(matches!(
        ledger.append(&decision(5)).await,
        Err(Error::Overloaded { limit: 1 })
    ));
    ledger.close().await;
    assert!(verify(&home.path()).await.is_sound());
}

fn ceremony() -> CeremonyEntry {
    CeremonyEntry {
        issuer: "default".into(),
        key: Digest::of(b"key"),
        transcript: Digest::of(b"transcript"),
        roster: Digest::of(b"roster"),
        plan: Digest::of(b"plan"),
        ceremony: "0".repeat(32),
        rehearsal: false,
        signed_by: vec!["anna".into()],
        blob: Digest::of(b"files"),
    }
}

#[tokio::test]
async fn who_asks_at_length_is_recorded_all_the_same() {
    let home = Home::new();
    let ledger = home.open().await;
    let long = "é".repeat(50_000);
    let mut entry = denied(1);
    entry.issuer.clone_from(&long);
    entry.identities = (0..500).map(name).chain([long.clone()]).collect();
    entry.policies = vec![entry.policies[0].clone(); 5000];
    entry.policies[0].name.clone_from(&long);
    (entry.csr, entry.tbs, entry.evidence) = (vec![1; 100_000], vec![2; 100_000], vec![3; 100_000]);
    let denial = entry.denial.as_mut().unwrap();
    (denial.message, denial.hint) = (long.clone(), Some(long));
    for sequence in 1..=2 {
        let appended = match sequence {
            1 => ledger.append_denied(&entry).await,
            _ => ledger.append_refused(&entry).await,
        };
        assert_eq!(appended.unwrap().sequence, sequence);
        let shown = ledger.reader().show(&Selector::Sequence(sequence)).await.unwrap();
        assert_eq!(shown["identity"], name(0));
        let message = shown["denial"]["message"].as_str().unwrap();
        let digest = Digest::of(&entry.evidence).to_string();
        assert!(message.contains("was cut") && message.contains(&digest));
    }
    let found = Filter {
        identity: Some(name(0)),
        ..Filter::default()
    };
    assert_eq!(ledger.reader().list(&found).await.unwrap().len(), 2);
    ledger.close().await;
    assert!(verify(&home.path()).await.is_sound());
}

#[tokio::test]
async fn there_is_one_writer() {
    let home = Home::new();
    let ledger = home.open().await;
    let second = Ledger::open(&home.path(), config(), Arc::new(SystemClock))
        .await
        .unwrap_err();
    assert!(matches!(second, Error::Held { pid: Some(pid), .. } if pid == std::process::id()));
    ledger.close().await;
    home.open().await.close().await;
}

#[tokio::test]
async fn a_blob_is_stored_once() {
    let home = Home::new();
    let ledger = home.open().await;
    let digest = ledger.put_blob(BlobKind::Module, b"module").await.unwrap();
    ledger.put_blob(BlobKind::Module, b"module").await.unwrap();
    ledger.close().await;
    let ledger = home.open().await;
    ledger.put_blob(BlobKind::Module, b"module").await.unwrap();
    let blob = ledger.reader().blob(&digest).await.unwrap().unwrap();
    assert_eq!(
        (blob.bytes.as_slice(), blob.kind, blob.sequence),
        (b"module".as_slice(), BlobKind::Module, 1)
    );
    assert_eq!(ledger.reader().head().await.unwrap().sequence, 1);
    let config = LedgerConfig {
        max_blob_bytes: 3,
        ..config()
    };
    ledger.close().await;
    let ledger = home.open_with(config).await;
    assert!(matches!(
        ledger.put_blob(BlobKind::Module, b"four").await,
        Err(Error::TooLarge { .. })
    ));
}

#[tokio::test]
async fn nothing_can_be_changed_or_taken_out() {
    let home = Home::new();
    one_of_everything(&home).await;
    let url = format!("sqlite://{}", home.path().display());
    let mut raw = sqlx::SqliteConnection::connect(&url).await.unwrap();
    for table in ["instance", "entries", "lookups", "blobs"] {
        let column = if table == "lookups" { "tag" } else { "rowid" };
        for text in [
            format!("UPDATE {table} SET {column} = {column}"),
            format!("DELETE FROM {table}"),
        ] {
            let error = sqlx::query(AssertSqlSafe(text.clone()))
                .execute(&mut raw)
                .await
                .unwrap_err();
            assert!(error.to_string().contains("append-only"), "{text}: {error}");
        }
    }
    let twice = "INSERT OR REPLACE INTO entries \
                 SELECT (SELECT max(sequence) + 1 FROM entries), kind, recorded_at, settled, refers, serial, \
                 previous, hash, body FROM entries WHERE ";
    for which in ["serial IS NOT NULL LIMIT 1", "refers IS NOT NULL LIMIT 1"] {
        let error = sqlx::query(AssertSqlSafe(format!("{twice}{which}")))
            .execute(&mut raw)
            .await
            .unwrap_err();
        assert!(error.to_string().contains("append-only"), "{error}");
    }
    let gap = "INSERT INTO entries (sequence, kind, recorded_at, settled, previous, hash, body) \
               VALUES (999, 7, 0, 0, zeroblob(32), zeroblob(32), x'01')";
    let error = sqlx::query(gap).execute(&mut raw).await.unwrap_err();
    assert!(error.to_string().contains("no gaps"));
}

#[tokio::test]
async fn another_database_and_a_later_schema_are_refused() {
    let home = Home::new();
    let url = format!("sqlite://{}?mode=rwc", home.path().display());
    let mut raw = sqlx::SqliteConnection::connect(&url).await.unwrap();
    sqlx::raw_sql("CREATE TABLE other (x)")
        .execute(&mut raw)
        .await
        .unwrap();
    let path = home.path();
    let open = || Ledger::open(&path, config(), Arc::new(SystemClock));
    assert!(matches!(open().await.unwrap_err(), Error::NotALedger { .. }));
    sqlx::raw_sql("DROP TABLE other").execute(&mut raw).await.unwrap();
    open().await.unwrap().close().await;
    sqlx::raw_sql("PRAGMA user_version = 99")
        .execute(&mut raw)
        .await
        .unwrap();
    assert!(matches!(
        open().await.unwrap_err(),
        Error::TooNew { found: 99, .. }
    ));
}

#[tokio::test]
async fn a_database_that_is_busy_for_long_refuses_and_goes_on() {
    let home = Home::new();
    let ledger = home.open().await;
    let url = format!("sqlite://{}", home.path().display());
    let mut raw = sqlx::SqliteConnection::connect(&url).await.unwrap();
    sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut raw).await.unwrap();
    let error = ledger.append(&decision(1)).await.unwrap_err();
    assert!(matches!(error, Error::NotWritten(_)), "{error:?}");
    assert!(error.is_retryable() && !error.is_fatal());
    assert!(ledger.trouble().is_some_and(|trouble| trouble.contains("locked")));
    sqlx::raw_sql("ROLLBACK").execute(&mut raw).await.unwrap();
    assert_eq!(ledger.append(&decision(1)).await.unwrap().sequence, 1);
    assert_eq!(ledger.trouble(), None);
    ledger.close().await;
    assert!(verify(&home.path()).await.is_sound());
}

async fn untroubled(ledger: &Ledger) {
    for _ in 0..600 {
        if ledger.trouble().is_none() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("it does not notice: {:?}", ledger.trouble());
}

/// Nobody asks for anything meanwhile: the writer looks by itself.
#[tokio::test]
async fn what_could_not_be_settled_is_settled_once_the_database_is_free() {
    let home = Home::new();
    let ledger = home.open().await;
    let open = ledger.append(&decision(1)).await.unwrap().sequence;
    let url = format!("sqlite://{}", home.path().display());
    let mut raw = sqlx::SqliteConnection::connect(&url).await.unwrap();
    sqlx::raw_sql("BEGIN EXCLUSIVE").execute(&mut raw).await.unwrap();
    let failed = FailedEntry {
        decision: open,
        reason: "it could not be stored".to_owned(),
    };
    let error = ledger.append_failed(&failed).await.unwrap_err();
    assert!(matches!(error, Error::NotWritten(_)), "{error:?}");
    sqlx::raw_sql("ROLLBACK").execute(&mut raw).await.unwrap();
    untroubled(&ledger).await;
    let rows = ledger.reader().list(&Filter::default()).await.unwrap();
    assert_eq!(rows.len(), 1, "{rows:?}");
    assert_eq!(rows[0].outcome, Outcome::Failed);
    // With nothing owed, the look leaves no trace.
    sqlx::raw_sql("BEGIN EXCLUSIVE").execute(&mut raw).await.unwrap();
    ledger.append(&decision(2)).await.unwrap_err();
    sqlx::raw_sql("ROLLBACK").execute(&mut raw).await.unwrap();
    untroubled(&ledger).await;
    assert_eq!(ledger.append(&decision(3)).await.unwrap().sequence, 3);
    ledger.close().await;
    assert!(verify(&home.path()).await.is_sound());
}

#[tokio::test]
async fn a_ledger_that_changed_under_the_writer_ends_it() {
    let home = Home::new();
    let ledger = home.open().await;
    ledger.append(&decision(1)).await.unwrap();
    let url = format!("sqlite://{}", home.path().display());
    let mut raw = sqlx::SqliteConnection::connect(&url).await.unwrap();
    let foreign = "INSERT INTO entries (sequence, kind, recorded_at, settled, previous, hash, body) \
                   VALUES (2, 7, 0, 0, zeroblob(32), zeroblob(32), x'01')";
    sqlx::query(foreign).execute(&mut raw).await.unwrap();
    let error = ledger.append(&decision(2)).await.unwrap_err();
    assert!(matches!(error, Error::Fatal(_)) && error.is_fatal(), "{error:?}");
    assert!(matches!(ledger.append(&decision(3)).await, Err(Error::Stopped)));
    assert!(!ledger.is_writable());
    // Reads go on.
    assert_eq!(ledger.reader().list(&Filter::default()).await.unwrap().len(), 1);
    assert!(!verify(&home.path()).await.is_sound());
}

#[tokio::test]
async fn a_full_queue_turns_decisions_away_and_never_a_certificate() {
    let home = Home::new();
    let ledger = home.open_with(LedgerConfig { queue: 4, ..config() }).await;
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..40 {
        let ledger = ledger.clone();
        tasks.spawn(async move {
            let entry = decision(number);
            (ledger.append(&entry).await, entry)
        });
    }
    let (decided, away): (Vec<_>, Vec<_>) = tasks
        .join_all()
        .await
        .into_iter()
        .partition(|(result, _)| result.is_ok());
    assert!(!away.is_empty() && decided.len() >= 4);
    assert!(
        away.iter()
            .all(|(result, _)| matches!(result, Err(Error::Overloaded { limit: 4 })))
    );
    let mut tasks = tokio::task::JoinSet::new();
    for (appended, entry) in decided {
        let ledger = ledger.clone();
        tasks.spawn(async move {
            ledger
                .complete(&certificate(appended.unwrap().sequence, &entry))
                .await
                .unwrap()
        });
    }
    tasks.join_all().await;
    ledger.close().await;
    assert!(verify(&home.path()).await.is_sound());
}
