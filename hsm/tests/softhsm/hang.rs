//! A module that does not come back.

use std::time::Duration;

use sealwright_hsm::{Metrics, PoolFailure, SignError, Signable};
use sealwright_identity::KeyType;

use crate::support::{AMPLE, Hang, Home, Signer, authority, block_on, generate};

/// One worker, and a deadline that a test can wait for.
fn small(home: &Home, queue: usize) -> Signer {
    home.make_token();
    let metrics = Metrics::default();
    let token = home.open_with(&metrics).unwrap();
    let key = generate(&token, "issuing", 1, KeyType::P256);
    Signer::start(token, key, metrics, 1, queue, Duration::from_millis(800))
}

isolated! {
    fn a_hang_is_answered_in_time_and_the_worker_replaced(home) {
        let signer = small(&home, 2);
        block_on(async {
            signer.sign().await.unwrap();
            let hang = Hang::begin(&home);
            assert!(matches!(signer.sign().await, Err(SignError::Deadline)));
            hang.end();
            // The lost worker comes back and ends; its replacement serves.
            while signer.sign().await.is_err() {
                assert!(signer.pool.failure().is_none());
            }
        });
        signer.close();
    }

    fn a_full_queue_says_so_and_the_late_are_dropped_unsigned(home) {
        let signer = small(&home, 2);
        let (pool, key) = (&signer.pool, &signer.key);
        block_on(async {
            signer.sign().await.unwrap();
            let hang = Hang::begin(&home);
            let tbs = authority(key);
            let tasks: Vec<_> = (0..8)
                .map(|_| {
                    let (pool, key, tbs) = (pool.clone(), key.clone(), tbs.clone());
                    tokio::spawn(async move {
                        pool.sign(&key, Signable::Authority(tbs), AMPLE).await
                    })
                })
                .collect();
            let mut overloaded = 0;
            for task in tasks {
                match task.await.unwrap() {
                    Err(SignError::Overloaded { queue: 2 }) => overloaded += 1,
                    Err(SignError::Deadline) => {}
                    other => panic!("{other:?}"),
                }
            }
            assert!(overloaded >= 1);
            hang.end();
        });
        // Whatever of the queue was reached after its time was not signed.
        assert_eq!(signer.metrics.requests("ok"), 1);
        signer.close();
    }

    fn a_request_that_is_late_in_the_queue_is_not_signed(home) {
        let signer = small(&home, 64);
        block_on(async {
            for _ in 0..3 {
                let tbs = Signable::Authority(authority(&signer.key));
                let late = signer.pool.sign(&signer.key, tbs, Duration::ZERO).await;
                assert!(matches!(late, Err(SignError::Deadline)));
            }
            signer.sign().await.unwrap();
        });
        assert_eq!(signer.metrics.expired(), 3);
        assert_eq!(signer.metrics.requests("deadline"), 3);
        signer.close();
    }

    fn a_module_that_hangs_on_ends_the_pool(home) {
        let signer = small(&home, 2);
        let failure = block_on(async {
            signer.sign().await.unwrap();
            let hang = Hang::begin(&home);
            let failure = loop {
                match signer.sign().await {
                    Err(SignError::Deadline) => {}
                    Err(SignError::Fatal(_)) => break signer.pool.failed().await,
                    other => panic!("{other:?}"),
                }
            };
            hang.end();
            failure
        });
        assert!(matches!(failure, PoolFailure::Hung { replaced: 1 }));
        assert_eq!(signer.metrics.workers_replaced(), 1);
        signer.close();
    }
}
