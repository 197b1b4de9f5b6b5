//! Files: read at start, on reload, and when a key is missing.

use super::{judge, of_key, token};
use crate::authn::tests::support::tokens::{ISSUER, RSA, key_set};
use crate::authn::tests::support::{Fixture, seconds};

#[tokio::test]
async fn files_are_read_again_on_reload() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("jwks.json");
    std::fs::write(&file, key_set(&[RSA.jwk("first")])).unwrap();
    let toml = format!(
        "[[authenticators]]\nname = \"file\"\nkind = \"jwt\"\nissuer = {ISSUER:?}\n\
         audiences = [\"istio-ca\"]\njwks_file = {file:?}\n"
    );
    let fixture = Fixture::new(&toml, &[]);
    assert_eq!(judge(&fixture, &token()).await, "accepted");

    std::fs::write(&file, "garbage").unwrap();
    let failed = fixture.authenticators.reload().await;
    assert_eq!(failed.len(), 1);
    assert_eq!(failed[0].0, "file");
    assert_eq!(judge(&fixture, &token()).await, "accepted");

    std::fs::write(&file, key_set(&[RSA.jwk("second")])).unwrap();
    assert!(fixture.authenticators.reload().await.is_empty());
    assert_eq!(judge(&fixture, &token()).await, "token_key_unknown");
    assert_eq!(judge(&fixture, &of_key("second")).await, "accepted");

    // A file does not go stale, and is looked at again when a key is missing.
    fixture.clock.advance(seconds(300_000));
    assert_eq!(judge(&fixture, &of_key("second")).await, "accepted");
    std::fs::write(&file, key_set(&[RSA.jwk("third")])).unwrap();
    assert_eq!(judge(&fixture, &of_key("third")).await, "accepted");
}
