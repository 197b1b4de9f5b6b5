//! A certificate authority, a gate and a whole front for tests. Keys are made at run time.

mod gate;
mod pki;
mod policies;

use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, LazyLock};

use prometheus_client::registry::Registry;
use sealwright_identity::{SharedClock, SystemClock};

use crate::metrics::Metrics;

pub(crate) use gate::{Behaviour, FakeGate};
pub(crate) use pki::{TestPki, csr_with, end_entity};
pub(crate) use policies::FakeEntry;

pub(crate) const DAY: u64 = 86_400;

pub(crate) fn clock() -> SharedClock {
    Arc::new(SystemClock)
}

pub(crate) fn metrics() -> Metrics {
    Metrics::register(&mut Registry::default(), clock())
}

static GUESTS: LazyLock<PathBuf> = LazyLock::new(|| {
    if let Some(folder) = std::env::var_os("SEALWRIGHT_GUESTS_DIR") {
        return folder.into();
    }
    let crates = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
    let build = crates.join("policy-wasm/guests/build.sh");
    let status = Command::new(build).status().unwrap();
    assert!(status.success(), "the guests were not built");
    crates.join(".build/guests")
});

/// The stock policy's file.
pub(crate) fn baseline() -> PathBuf {
    GUESTS.join("baseline.wasm")
}
