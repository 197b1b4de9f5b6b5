//! The engine profile: what, besides the policy and its input, could make a
//! decision come out differently.
//!
//! Two equal digests mean that verdict, narrowing and fuel must be equal; with
//! different ones, fuel is not comparable.

use sealwright_identity::Digest;
use serde::Serialize;

use crate::{
    engine::{EngineSettings, FEATURES, MAX_CORE_INSTANCES, MAX_MEMORIES, MAX_TABLES, WASM_STACK_BYTES},
    settings,
};

/// The version of the WIT package that this host speaks.
pub const WIT_VERSION: &str = "sealwright:policy@1.0.0";

/// The profile of an engine, as RFC 8785 JSON, and its digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineProfile {
    /// RFC 8785 JSON.
    pub json: String,
    /// SHA-256 of `json`.
    pub digest: Digest,
}

#[derive(Serialize)]
struct Facts<'a> {
    schema: &'static str,
    wit: &'static str,
    wasmtime: &'static str,
    architecture: &'static str,
    system: &'static str,
    compiler: &'static str,
    optimize: &'static str,
    /// Fuel for one operator; wasmtime's own table, which its version names.
    operator_cost: &'static str,
    consume_fuel: bool,
    epoch_interruption: bool,
    nan_canonicalization: bool,
    concurrency_support: bool,
    features: Vec<&'a str>,
    wasm_stack_bytes: usize,
    max_memory_bytes: u64,
    max_table_elements: u64,
    max_core_instances: u32,
    max_memories: u32,
    max_tables: u32,
}

pub(crate) fn of(engine: &EngineSettings) -> EngineProfile {
    let mut features: Vec<&str> = FEATURES.iter_names().map(|(name, _)| name).collect();
    features.sort_unstable();
    let json = settings::canonical(&Facts {
        schema: "sealwright.engine-profile/1",
        wit: WIT_VERSION,
        wasmtime: wasmtime_environ::VERSION,
        architecture: std::env::consts::ARCH,
        system: std::env::consts::OS,
        compiler: "cranelift",
        optimize: "speed",
        operator_cost: "default",
        consume_fuel: true,
        epoch_interruption: true,
        nan_canonicalization: true,
        concurrency_support: false,
        features,
        wasm_stack_bytes: WASM_STACK_BYTES,
        max_memory_bytes: engine.max_memory_bytes,
        max_table_elements: engine.max_table_elements,
        max_core_instances: MAX_CORE_INSTANCES,
        max_memories: MAX_MEMORIES,
        max_tables: MAX_TABLES,
    });
    EngineProfile {
        digest: Digest::of(json.as_bytes()),
        json,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_what_affects_execution() {
        let profile = of(&EngineSettings::default());
        for fact in [
            r#""wasmtime":"48."#,
            r#""nan_canonicalization":true"#,
            r#""schema":"sealwright.engine-profile/1""#,
        ] {
            assert!(profile.json.contains(fact), "{fact} in {}", profile.json);
        }
        for off in ["THREADS", "RELAXED_SIMD", "GC", "MEMORY64"] {
            assert!(!profile.json.contains(off), "{off} in {}", profile.json);
        }
    }

    #[test]
    fn differs_when_a_limit_does_and_not_with_the_pool() {
        let base = of(&EngineSettings::default());
        let pool = EngineSettings {
            slots: 7,
            ..EngineSettings::default()
        };
        let memory = EngineSettings {
            max_memory_bytes: 1 << 20,
            ..EngineSettings::default()
        };
        assert_eq!(base, of(&pool));
        assert_ne!(base.digest, of(&memory).digest);
    }
}
