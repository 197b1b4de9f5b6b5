//! What gets lost is repaired in place; what cannot be ends the pool.

use std::fs;

use sealwright_hsm::{PoolFailure, Repair, SignError};

use crate::support::{Signer, block_on, foreign, foreign_session, module};

async fn sign_many(signer: &Signer) {
    let pool = &signer.pool;
    let tasks: Vec<_> = (0..16)
        .map(|_| {
            let (pool, key) = (pool.clone(), signer.key.clone());
            tokio::spawn(async move { crate::support::sign_with(&pool, &key).await })
        })
        .collect();
    for task in tasks {
        task.await.unwrap().unwrap();
    }
}

isolated! {
    fn a_logout_by_somebody_else_is_repaired(home) {
        let signer = home.signer();
        block_on(async {
            sign_many(&signer).await;
            foreign_session().logout().unwrap();
            sign_many(&signer).await;
        });
        assert_eq!(signer.metrics.repairs(Repair::Login), 1);
        assert_eq!(signer.metrics.logins(), 2);
        assert!(signer.metrics.repairs(Repair::Key) >= 1);
        assert!(signer.pool.failure().is_none());
        signer.close();
    }

    fn the_loss_of_all_sessions_is_repaired(home) {
        let signer = home.signer();
        block_on(async {
            sign_many(&signer).await;
            close_all_sessions();
            sign_many(&signer).await;
        });
        assert_eq!(signer.metrics.repairs(Repair::Login), 1);
        assert!(signer.metrics.repairs(Repair::Session) >= 1);
        assert!(signer.pool.failure().is_none());
        signer.close();
    }

    fn logouts_under_load_cost_no_request(home) {
        let signer = home.signer();
        block_on(async {
            for _ in 0..5 {
                let load = sign_many(&signer);
                // Sessions are not closed here: SoftHSM crashes when one is
                // closed that another thread is signing in.
                let loss = tokio::task::spawn_blocking(|| foreign_session().logout().unwrap());
                let ((), loss) = futures_join(load, loss).await;
                loss.unwrap();
            }
        });
        assert!(signer.pool.failure().is_none());
        signer.close();
    }

    fn a_module_that_was_finalised_ends_the_pool(home) {
        let signer = home.signer();
        let failure = block_on(async {
            signer.sign().await.unwrap();
            foreign().0.finalize().unwrap();
            assert!(matches!(signer.sign().await, Err(SignError::Fatal(_))));
            assert!(matches!(signer.sign().await, Err(SignError::Fatal(_))));
            signer.pool.failed().await
        });
        assert!(matches!(failure, PoolFailure::Token(_)) && !failure.is_pin());
        signer.close();
    }

    fn a_token_whose_files_are_gone_ends_the_pool(home) {
        let signer = home.signer();
        let failure = block_on(async {
            signer.sign().await.unwrap();
            fs::remove_dir_all(home.folder().tokens()).unwrap();
            for _ in 0..3 {
                if matches!(signer.sign().await, Err(SignError::Fatal(_))) {
                    break;
                }
            }
            signer.pool.failed().await
        });
        assert!(!failure.is_pin());
        signer.close();
    }

    fn a_pin_changed_meanwhile_ends_the_pool_and_is_not_tried_again(home) {
        use cryptoki::types::AuthPin;

        let signer = home.signer();
        let failure = block_on(async {
            signer.sign().await.unwrap();
            let session = foreign_session();
            let new = AuthPin::from("another-pin");
            session.set_pin(&AuthPin::from(crate::support::USER_PIN), &new).unwrap();
            session.logout().unwrap();
            assert!(matches!(signer.sign().await, Err(SignError::Fatal(_))));
            signer.pool.failed().await
        });
        assert!(failure.is_pin());
        assert_eq!(signer.metrics.logins(), 2);
        signer.close();
        let error = home.open().unwrap_err();
        assert!(matches!(error, sealwright_hsm::Error::PinRemembered { .. }));
        home.set_pin("another-pin");
        home.open().unwrap();
    }
}

async fn futures_join<A, B>(a: impl Future<Output = A>, b: impl Future<Output = B>) -> (A, B) {
    tokio::join!(a, b)
}

/// `C_CloseAllSessions`, which the safe binding does not have.
#[expect(unsafe_code, reason = "the function is reached by the raw binding only")]
fn close_all_sessions() {
    let (_, slot) = foreign();
    // SAFETY: the library is the one that is loaded and initialised already;
    // the function takes a number and no pointer.
    let rv = unsafe {
        let library = cryptoki_sys::Pkcs11::new(module()).unwrap();
        library.C_CloseAllSessions(slot.id())
    };
    assert_eq!(rv, cryptoki_sys::CKR_OK);
}
