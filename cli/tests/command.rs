//! The binary itself. That this test needs it is what builds it for the integration tests as well, which
//! are another package's.

#![allow(clippy::unwrap_used, reason = "a failure here is a failed test")]

use std::process::Command;

#[test]
fn says_its_name_and_version() {
    let output = Command::new(env!("CARGO_BIN_EXE_sealwright"))
        .arg("--version")
        .output()
        .unwrap();
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text.trim_end(), concat!("sealwright ", env!("CARGO_PKG_VERSION")));
}
