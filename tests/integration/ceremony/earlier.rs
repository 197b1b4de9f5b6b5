//! Transcripts of earlier releases: see tests/fixtures/README.md.

use std::path::Path;

use sealwright_tests::ceremony::verify;

#[test]
fn a_transcript_from_before_still_verifies() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/earlier-ceremony");
    let verified = verify(&folder).json();
    assert_eq!(
        verified["digest"],
        "sha256:f41c188d7b6950de218f75573b1511c6c300ae38f0ae52786c707518c0bdf49a"
    );
    assert_eq!(verified["events"], 92);
}
