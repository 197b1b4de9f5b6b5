//! Signatures of every kind, by many tasks at once.

use std::{
    io,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use parking_lot::Mutex;
use sealwright_hsm::{
    Error, KeyPurpose, Metrics, PoolConfig, PoolFailure, Probe, SessionPool, SignError, Signable, provision,
};
use sealwright_identity::KeyType;
use sealwright_x509::{AuthorityTbs, SignatureAlgorithm};

use crate::support::{AMPLE, Signer, authority, block_on, generate, selector, sign_with};

/// What was traced.
#[derive(Clone, Default)]
struct Trace(Arc<Mutex<Vec<u8>>>);

impl io::Write for Trace {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> tracing_subscriber::fmt::MakeWriter<'a> for Trace {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

isolated! {
    fn every_key_type_signs_under_load(home) {
        home.make_token();
        let token = home.open().unwrap();
        let keys: Vec<_> = [
            KeyType::P256,
            KeyType::P384,
            KeyType::Ed25519,
            KeyType::Rsa(2048),
            KeyType::Rsa(3072),
            KeyType::Rsa(4096),
        ]
        .into_iter()
        .zip(1..)
        .map(|(key_type, id)| generate(&token, &key_type.to_string(), id, key_type))
        .collect();
        let metrics = Metrics::default();
        let config = PoolConfig { sessions: 4, queue: 1000, deadline: AMPLE };
        let pool = SessionPool::start(token, config, metrics.clone());
        block_on(async {
            let mut tasks = Vec::new();
            for round in 0..40 {
                let key = keys[round % keys.len()].clone();
                let pool = pool.clone();
                tasks.push(tokio::spawn(async move {
                    for _ in 0..3 {
                        sign_with(&pool, &key).await.unwrap();
                    }
                }));
            }
            for task in tasks {
                task.await.unwrap();
            }
        });
        assert_eq!(metrics.requests("ok"), 120);
        assert!(pool.failure().is_none());
        assert_eq!(pool.queue_depth(), 0);
        assert!(block_on(pool.close(AMPLE)));
    }

    fn a_health_key_signs_probes_and_nothing_else(home) {
        let Signer { token, key, pool, .. } = home.signer();
        provision::generate_key_pair(&token, "health", &[9], KeyType::P256).unwrap();
        let health = token.find_health_key(&selector("pkcs11:object=health")).unwrap();
        assert_eq!(health.purpose(), KeyPurpose::Health);
        assert!(matches!(
            token.find_key(&selector("pkcs11:id=%09")),
            Err(Error::KeyPurpose { .. })
        ));
        assert!(matches!(
            token.find_health_key(&selector("pkcs11:object=issuing")),
            Err(Error::KeyPurpose { .. })
        ));
        block_on(async {
            pool.probe(&health, AMPLE).await.unwrap();
            assert!(matches!(
                pool.probe(&key, AMPLE).await,
                Err(SignError::Purpose)
            ));
            assert!(matches!(
                pool.sign(&key, Signable::Probe(Probe::new()), AMPLE).await,
                Err(SignError::Purpose)
            ));
            let root = Signable::Authority(authority(&health));
            assert!(matches!(
                pool.sign(&health, root, AMPLE).await,
                Err(SignError::Purpose)
            ));
            assert!(pool.close(AMPLE).await);
        });
    }

    fn a_structure_with_another_algorithm_is_not_signed(home) {
        let Signer { key, pool, metrics, .. } = home.signer();
        let mut fields = authority(&key).fields().clone();
        fields.signature_algorithm = SignatureAlgorithm::EcdsaP384Sha384;
        let odd = AuthorityTbs::build(&fields).unwrap();
        let result = block_on(pool.sign(&key, Signable::Authority(odd), AMPLE));
        assert!(matches!(result, Err(SignError::Algorithm { .. })));
        assert_eq!(metrics.requests("algorithm"), 1);
        assert!(block_on(pool.close(AMPLE)));
    }

    fn generated_keys_cannot_be_loosened(home) {
        use cryptoki::object::Attribute;

        home.make_token();
        let token = home.open().unwrap();
        let key = generate(&token, "issuing", 1, KeyType::P256);
        let protection = key.protection();
        assert!(protection.sensitive && protection.local && !protection.extractable);
        assert!(matches!(
            provision::generate_key_pair(&token, "issuing", &[7], KeyType::P256),
            Err(Error::Exists { .. })
        ));
        assert!(matches!(
            provision::generate_key_pair(&token, "other", &[1], KeyType::P256),
            Err(Error::Exists { .. })
        ));
        assert!(matches!(
            provision::generate_key_pair(&token, "other", &[2], KeyType::Rsa(1024)),
            Err(Error::KeyTypeUnsupported(_))
        ));

        let session = crate::support::foreign_session();
        let handles = session
            .find_objects(&[Attribute::Label(b"issuing".to_vec())])
            .unwrap();
        assert_eq!(handles.len(), 2);
        for handle in handles {
            for change in [
                Attribute::Derive(true),
                Attribute::Extractable(true),
                Attribute::Label(b"other".to_vec()),
            ] {
                assert!(session.update_attributes(handle, &[change]).is_err());
            }
        }
    }

    fn the_trace_names_calls_and_holds_no_data(home) {
        let trace = Trace::default();
        tracing_subscriber::fmt()
            .with_max_level(tracing_subscriber::filter::LevelFilter::TRACE)
            .with_writer(trace.clone())
            .init();
        let signer = home.signer();
        let tbs = authority(&signer.key);
        let signature = block_on(signer.pool.sign(
            &signer.key,
            Signable::Authority(tbs),
            AMPLE,
        ))
        .unwrap();
        signer.close();
        let text = String::from_utf8(trace.0.lock().clone()).unwrap();
        for call in ["C_Initialize", "C_Login", "C_FindObjects", "C_Sign", "CKR_OK"] {
            assert!(text.contains(call), "{call} in\n{text}");
        }
        assert!(!text.contains(crate::support::USER_PIN));
        assert!(!text.contains(&hex::encode(&signature[8..24])));
        assert!(!text.contains(&format!("{:?}", &signature[8..24]).replace(['[', ']'], "")));
    }

    fn a_key_of_another_token_is_not_signed_with(home) {
        let Signer { token, key, pool, .. } = home.signer();
        assert!(block_on(pool.close(AMPLE)));
        drop((token, pool));
        let token = home.open().unwrap();
        let pool = SessionPool::start(
            token.clone(),
            PoolConfig::from(&home.config()),
            Metrics::default(),
        );
        assert!(matches!(
            block_on(sign_with(&pool, &key)),
            Err(SignError::ForeignKey)
        ));
        let key = token.find_key(key.selector()).unwrap();
        block_on(sign_with(&pool, &key)).unwrap();
        assert!(block_on(pool.close(AMPLE)));
    }

    fn a_closed_pool_serves_what_waits_and_nothing_more(home) {
        let signer = home.signer();
        let (pool, key) = (&signer.pool, &signer.key);
        block_on(async {
            let waiting: Vec<_> = (0..8)
                .map(|_| Box::pin(pool.sign(key, Signable::Authority(authority(key)), AMPLE)))
                .collect();
            let waiting: Vec<_> = waiting
                .into_iter()
                .map(|mut request| {
                    // Polled once, it is in the queue.
                    let mut context = Context::from_waker(Waker::noop());
                    let first = request.as_mut().poll(&mut context);
                    (first, request)
                })
                .collect();
            assert!(pool.close(AMPLE).await);
            for (first, request) in waiting {
                match first {
                    Poll::Ready(result) => result.unwrap(),
                    Poll::Pending => request.await.unwrap(),
                };
            }
            assert!(matches!(
                signer.sign().await,
                Err(SignError::Fatal(PoolFailure::Stopped))
            ));
        });
        // With its last user the module is finalised, and can be loaded anew.
        drop(signer);
        home.open().unwrap();
    }
}
