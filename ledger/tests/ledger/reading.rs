//! The read side: filters, shapes, bounds.

use std::{os::unix::fs::PermissionsExt as _, time::Duration};

use sealwright_identity::Digest;
use sealwright_ledger::{DecisionEntry, Filter, LedgerReader, Outcome, ReadError, Renewal, Selector};
use serde_json::json;

use crate::support::{Home, certificate, decision, name, one_of_everything, serial, start};

async fn reader(home: &Home) -> LedgerReader {
    LedgerReader::open(&home.path()).await.unwrap()
}

#[tokio::test]
async fn lists_each_request_once_oldest_first() {
    let home = Home::new();
    one_of_everything(&home).await;
    let rows = reader(&home).await.list(&Filter::default()).await.unwrap();
    let outcomes: Vec<_> = rows.iter().map(|row| row.outcome.to_string()).collect();
    assert_eq!(
        outcomes,
        [
            "unreleased",
            "issued",
            "issued",
            "failed",
            "denied",
            "refused",
            "pending"
        ]
    );
    assert!(rows.windows(2).all(|pair| pair[0].sequence < pair[1].sequence));
    let serials: Vec<_> = rows.iter().map(|row| row.serial.is_some()).collect();
    assert_eq!(serials, [true, true, true, true, false, false, true]);

    let json = serde_json::to_value(&rows[1]).unwrap();
    let expected = json!({
        "serial": serial(1).to_string(),
        "identity": name(1),
        "identities": [name(1), name(2)],
        "outcome": "issued",
        "recorded_at": "2026-09-21T14:14:20Z",
        "policies": [{
            "name": "baseline",
            "module": Digest::of(b"module").to_string(),
            "settings": Digest::of(b"{}").to_string(),
            "verdict": "allow",
            "fuel": 10_001,
        }],
        "set": null,
    });
    assert_eq!(json, expected);
}

#[tokio::test]
async fn a_released_certificate_leads_to_the_first_of_its_chain() {
    let home = Home::new();
    let ledger = home.open().await;
    let first = decision(1);
    let appended = ledger.append(&first).await.unwrap();
    let reader = reader(&home).await;
    // Decided on, and never left.
    assert_eq!(reader.released(&serial(1)).await.unwrap(), None);
    let whole = certificate(appended.sequence, &first);
    ledger.complete(&whole).await.unwrap();
    let found = reader.released(&serial(1)).await.unwrap().unwrap();
    assert_eq!(found.decision, first);
    assert_eq!(found.first_authenticated_at(), appended.recorded_at);
    assert_eq!(found.fingerprint, Digest::of(&whole.certificate));
    home.tick();
    let second = DecisionEntry {
        renewal: Some(Renewal {
            previous: serial(1),
            first_authenticated_at: found.first_authenticated_at(),
        }),
        ..decision(2)
    };
    let renewed = ledger.append(&second).await.unwrap();
    ledger
        .complete(&certificate(renewed.sequence, &second))
        .await
        .unwrap();
    let found = reader.released(&serial(2)).await.unwrap().unwrap();
    assert_eq!(found.first_authenticated_at(), appended.recorded_at);
    assert_ne!(renewed.recorded_at, appended.recorded_at);

    let shown = reader.show(&Selector::Serial(serial(2))).await.unwrap();
    assert_eq!(shown["previous_serial"], serial(1).to_string());
    assert_eq!(shown["first_authenticated_at"], json!(appended.recorded_at));
    let shown = reader.show(&Selector::Serial(serial(1))).await.unwrap();
    assert_eq!(shown["previous_serial"], json!(null));
    assert_eq!(shown["first_authenticated_at"], json!(appended.recorded_at));
    assert_eq!(reader.released(&serial(3)).await.unwrap(), None);
    ledger.close().await;
}

#[tokio::test]
async fn filters() {
    let home = Home::new();
    one_of_everything(&home).await;
    let reader = reader(&home).await;
    let list = async |filter: Filter| -> Vec<Outcome> {
        let rows = reader.list(&filter).await.unwrap();
        let mut all = Vec::new();
        if filter.limit.is_none() {
            reader
                .list_all(&filter, |row| {
                    all.push(row);
                    Ok(())
                })
                .await
                .unwrap();
            assert_eq!(all, rows);
        }
        rows.iter().map(|row| row.outcome).collect()
    };
    use Outcome::{Denied, Failed, Issued, Pending, Refused, Unreleased};
    assert_eq!(
        list(Filter {
            serial: Some(serial(4)),
            ..Filter::default()
        })
        .await,
        [Failed]
    );
    assert_eq!(
        list(Filter {
            serial: Some(serial(99)),
            ..Filter::default()
        })
        .await,
        []
    );
    assert_eq!(
        list(Filter {
            identity: Some(name(1)),
            ..Filter::default()
        })
        .await,
        [Issued, Refused]
    );
    // A name that is not the primary one is found too.
    assert_eq!(
        list(Filter {
            identity: Some(name(2)),
            ..Filter::default()
        })
        .await,
        [Issued]
    );
    // Every request but the server's own was asked of the policy.
    for policy in [
        "baseline".to_owned(),
        Digest::of(b"module").to_string(),
        Digest::of(b"{}").to_string(),
    ] {
        let asked = list(Filter {
            policy: Some(policy),
            ..Filter::default()
        });
        assert_eq!(
            asked.await,
            [Unreleased, Issued, Failed, Denied, Refused, Pending]
        );
    }
    assert_eq!(
        list(Filter {
            policy: Some("other".into()),
            ..Filter::default()
        })
        .await,
        []
    );
    assert_eq!(
        list(Filter {
            identity: Some("localhost".into()),
            ..Filter::default()
        })
        .await,
        [Issued]
    );
    assert_eq!(
        list(Filter {
            limit: Some(2),
            ..Filter::default()
        })
        .await,
        [Refused, Pending]
    );
    let now = sealwright_identity::Clock::now(&home.clock);
    let minute = Duration::from_secs(60);
    let since = Some(now.saturating_sub(minute));
    assert_eq!(
        list(Filter {
            since,
            ..Filter::default()
        })
        .await,
        [Failed, Denied, Refused, Pending]
    );
    assert_eq!(
        list(Filter {
            since,
            until: Some(now),
            ..Filter::default()
        })
        .await,
        [Failed, Denied, Refused]
    );
    assert_eq!(
        list(Filter {
            until: since,
            ..Filter::default()
        })
        .await,
        [Unreleased, Issued, Issued]
    );
    assert_eq!(
        list(Filter {
            until: since,
            limit: Some(1),
            ..Filter::default()
        })
        .await,
        [Issued]
    );
    let both = Filter {
        identity: Some(name(1)),
        since,
        ..Filter::default()
    };
    assert_eq!(list(both).await, [Refused]);
    let both = Filter {
        serial: Some(serial(1)),
        identity: Some(name(4)),
        ..Filter::default()
    };
    assert_eq!(list(both).await, []);
}

#[tokio::test]
async fn lists_more_than_a_page() {
    let home = Home::new();
    let ledger = home.open().await;
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..2100 {
        let ledger = ledger.clone();
        // Times repeat, so that a page ends among entries of one time.
        if number % 700 == 0 {
            home.tick();
        }
        tasks.spawn(async move { ledger.append(&decision(number)).await.unwrap() });
    }
    tasks.join_all().await;
    for since in [None, Some(sealwright_identity::Timestamp::from_micros(0))] {
        let mut seen = Vec::new();
        let filter = Filter {
            since,
            ..Filter::default()
        };
        ledger
            .reader()
            .list_all(&filter, |row| {
                seen.push(row.sequence);
                Ok(())
            })
            .await
            .unwrap();
        assert_eq!(seen, (1..=2100).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn shows_a_record_whole() {
    let home = Home::new();
    one_of_everything(&home).await;
    let reader = reader(&home).await;
    let shown = reader.show(&Selector::Serial(serial(1))).await.unwrap();
    assert_eq!(shown["outcome"], "issued");
    assert_eq!(shown["kind"], "decision");
    assert!(
        shown["csr"]
            .as_str()
            .unwrap()
            .starts_with("-----BEGIN CERTIFICATE REQUEST-----\n")
    );
    assert!(
        shown["certificate"]
            .as_str()
            .unwrap()
            .ends_with("-----END CERTIFICATE-----\n")
    );
    assert_eq!(shown["settled_by"]["kind"], "certificate");
    assert_eq!(shown["start"]["kind"], "start");
    // The settling entry leads to its decision, too.
    let settled_by = shown["settled_by"]["sequence"].as_u64().unwrap();
    assert_eq!(reader.show(&Selector::Sequence(settled_by)).await.unwrap(), shown);
    let sequence = shown["start"]["sequence"].as_u64().unwrap();
    let shown = reader.show(&Selector::Sequence(sequence)).await.unwrap();
    assert_eq!(shown["start"], serde_json::to_value(start()).unwrap());
    let failed = reader.show(&Selector::Serial(serial(4))).await.unwrap();
    assert_eq!(failed["settled_by"]["reason"], "CKR_DEVICE_ERROR");
    assert!(matches!(
        reader.show(&Selector::Sequence(9999)).await,
        Err(ReadError::NotFound(_))
    ));
    assert_eq!("12".parse(), Ok(Selector::Sequence(12)));
    assert_eq!(serial(1).to_string().parse(), Ok(Selector::Serial(serial(1))));
    assert!("xyz".parse::<Selector>().is_err());
}

#[tokio::test]
async fn a_query_that_takes_too_long_ends() {
    let home = Home::new();
    one_of_everything(&home).await;
    let reader = reader(&home).await.with_time_bound(Duration::ZERO);
    assert!(matches!(
        reader.list(&Filter::default()).await,
        Err(ReadError::TimedOut(_))
    ));
}

#[tokio::test]
async fn says_when_there_is_none() {
    let home = Home::new();
    assert!(matches!(
        LedgerReader::open(&home.path()).await,
        Err(ReadError::Absent(_))
    ));
    std::fs::write(home.path(), b"").unwrap();
    assert!(matches!(
        LedgerReader::open(&home.path()).await,
        Err(ReadError::Unfit(_))
    ));
}

#[tokio::test]
async fn reads_beside_the_writer_and_from_a_folder_it_cannot_write() {
    let home = Home::new();
    let ledger = home.open().await;
    let entry = decision(1);
    ledger.append(&entry).await.unwrap();
    let beside = reader(&home).await;
    assert_eq!(beside.list(&Filter::default()).await.unwrap().len(), 1);
    ledger.complete(&certificate(1, &entry)).await.unwrap();
    assert_eq!(
        beside.list(&Filter::default()).await.unwrap()[0].outcome,
        Outcome::Issued
    );
    assert!(beside.verify(&mut |_| {}).await.unwrap().is_sound());
    beside.close().await;
    ledger.close().await;

    // (The superuser is not held up by modes; for it this shows less.)
    let folder = home.folder.path();
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o500)).unwrap();
    let rows = reader(&home).await.list(&Filter::default()).await;
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o700)).unwrap();
    assert_eq!(rows.unwrap().len(), 1);
}
