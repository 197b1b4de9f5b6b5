//! Guests, an engine for all tests, and policies made from both.

use std::{
    fs,
    path::PathBuf,
    process::Command,
    sync::{Arc, LazyLock},
};

use serde_json::Value;

use crate::{Engine, EngineSettings, HostConfig, Limits, LoadError, Policy, PolicyHost, PolicySource};

/// One engine for all tests: each reserves a lot of address space.
pub(super) static ENGINE: LazyLock<Engine> =
    LazyLock::new(|| Engine::new(EngineSettings::default()).unwrap());

static GUESTS: LazyLock<PathBuf> = LazyLock::new(|| {
    if let Some(folder) = std::env::var_os("SEALWRIGHT_GUESTS_DIR") {
        return folder.into();
    }
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let status = Command::new(here.join("guests/build.sh")).status().unwrap();
    assert!(status.success(), "the guests were not built");
    here.join("../.build/guests")
});

/// Keeps the guests compiled for as long as the tests run.
static COMPILED: LazyLock<[Policy; 2]> = LazyLock::new(|| {
    let settings = serde_json::json!({"trust_domains": ["cluster.local"]});
    ["baseline", "hostile"].map(|name| Policy::load(&ENGINE, source(guest(name), settings.clone())).unwrap())
});

/// The bytes of a guest.
pub(super) fn guest(name: &str) -> Vec<u8> {
    fs::read(GUESTS.join(name).with_extension("wasm")).unwrap()
}

pub(super) fn source(component: Vec<u8>, settings: Value) -> PolicySource {
    PolicySource {
        name: "tested".to_owned(),
        component,
        settings,
        limits: Limits::default(),
    }
}

pub(super) fn load(guest_name: &str, settings: Value) -> Result<Arc<Policy>, LoadError> {
    LazyLock::force(&COMPILED);
    Policy::load(&ENGINE, source(guest(guest_name), settings)).map(Arc::new)
}

/// The hostile guest, told to do `deed` when it decides.
pub(super) fn hostile(deed: &str) -> Arc<Policy> {
    load("hostile", serde_json::json!({ "decide": deed })).unwrap()
}

/// The same, with other limits.
pub(super) fn hostile_within(engine: &Engine, deed: &str, limits: Limits) -> Arc<Policy> {
    let settings = serde_json::json!({ "decide": deed });
    let source = PolicySource {
        limits,
        ..source(guest("hostile"), settings)
    };
    Arc::new(Policy::load(engine, source).unwrap())
}

pub(super) fn host() -> PolicyHost {
    let config = HostConfig {
        threads: 2,
        queue: 16,
    };
    PolicyHost::start(ENGINE.clone(), config).unwrap()
}
