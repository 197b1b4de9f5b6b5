//! What is no policy, and how it is told.

use serde_json::json;

use super::support::{ENGINE, guest, load, source};
use crate::{Limits, LoadError, Policy, WIT_VERSION};

fn refusal(component: Vec<u8>) -> LoadError {
    Policy::load(&ENGINE, source(component, json!({}))).unwrap_err()
}

/// The smallest component that imports a function of that name.
fn importing(name: &str) -> Vec<u8> {
    let mut bytes = b"\0asm\x0d\0\x01\0".to_vec();
    bytes.extend([7, 5, 1, 0x40, 0, 1, 0]);
    let length = u8::try_from(name.len()).unwrap();
    bytes.extend([10, length + 5, 1, 0, length]);
    bytes.extend(name.as_bytes());
    bytes.extend([1, 0]);
    bytes
}

#[test]
fn describes_itself() {
    let policy = load("baseline", json!({"trust_domains": ["cluster.local"]})).unwrap();
    assert_eq!(policy.described_as(), ("baseline", "1.0.0"));
    assert_eq!(policy.settings_json(), r#"{"trust_domains":["cluster.local"]}"#);
    assert_eq!(policy.settings_schema()["required"][0], "trust_domains");
}

#[test]
fn refuses_bytes_that_are_no_component() {
    for bytes in [&b""[..], b"\0asm", b"(component)", b"\x7fELF\x02\x01\x01\0"] {
        assert!(matches!(refusal(bytes.into()), LoadError::NotAComponent));
    }
    let core = b"\0asm\x01\0\0\0".to_vec();
    assert!(matches!(refusal(core), LoadError::CoreModule));
}

#[test]
fn refuses_a_damaged_component() {
    let whole = guest("baseline");
    let truncated = whole[..whole.len() / 2].to_vec();
    assert!(matches!(refusal(truncated), LoadError::Compile(_)));
    let mut trailing = whole;
    trailing.extend(b"trailing");
    assert!(matches!(refusal(trailing), LoadError::Compile(_)));
}

#[test]
fn refuses_precompiled_code() {
    let compiled = ENGINE.wasmtime().precompile_component(&guest("baseline"));
    assert!(matches!(refusal(compiled.unwrap()), LoadError::NotAComponent));
}

#[test]
fn webassembly_that_need_not_be_repeatable_is_off() {
    let module = |sections: &[u8]| [b"\0asm\x01\0\0\0", sections].concat();
    let accepts = |sections: &[u8]| wasmtime::Module::validate(ENGINE.wasmtime(), &module(sections));
    let v128_ternary = [1, 8, 1, 0x60, 3, 0x7b, 0x7b, 0x7b, 1, 0x7b, 3, 2, 1, 0];
    let applying = |opcode: &[u8]| {
        let length = u8::try_from(opcode.len()).unwrap() + 8;
        let mut bytes = v128_ternary.to_vec();
        bytes.extend([10, length + 2, 1, length, 0, 0x20, 0, 0x20, 1, 0x20, 2]);
        bytes.extend(opcode);
        bytes.push(0x0b);
        bytes
    };
    // v128.bitselect is plain SIMD, and on.
    accepts(&applying(&[0xfd, 0x52])).unwrap();
    let off: [(&str, &[u8]); 4] = [
        ("relaxed SIMD", &applying(&[0xfd, 0x85, 0x02])),
        ("threads", &[5, 4, 1, 3, 1, 1]),
        ("GC", &[1, 3, 1, 0x5f, 0]),
        ("64-bit memories", &[5, 3, 1, 4, 1]),
    ];
    for (what, sections) in off {
        let error = accepts(sections).unwrap_err();
        let text = format!("{error:#}");
        let proposal = ["relaxed", "threads", "gc", "memory64"];
        assert!(proposal.iter().any(|name| text.contains(name)), "{what}: {text}");
    }
}

#[test]
fn refuses_a_component_that_is_too_large() {
    let large = vec![0; ENGINE.settings().max_component_bytes + 1];
    assert!(matches!(refusal(large), LoadError::Size { .. }));
}

#[test]
fn refuses_another_world() {
    let empty = b"\0asm\x0d\0\x01\0".to_vec();
    let error = refusal(empty);
    assert!(matches!(error, LoadError::World(_)), "{error}");
    assert!(error.to_string().contains(WIT_VERSION));
    // The right name with the wrong type.
    let error = refusal(importing("log"));
    assert!(matches!(error, LoadError::World(_)), "{error}");
}

#[test]
fn refuses_foreign_imports_by_name() {
    for name in [
        "wasi:random/random@0.2.0",
        "sealwright:policy/types@2.0.0",
        "fetch",
    ] {
        // Only plain names can name a function; an interface is an instance.
        let bytes = importing(name);
        match refusal(bytes) {
            LoadError::ForeignImports(names) => assert_eq!(names, [name]),
            LoadError::Compile(_) => assert!(name.contains(':')),
            other => panic!("{name}: {other}"),
        }
    }
}

#[test]
fn a_guest_that_fails_while_it_is_loaded_is_not_loaded() {
    for (deed, code) in [("loop", "POLICY_FUEL"), ("panic", "POLICY_TRAP")] {
        let error = load("hostile", json!({ "validate": deed })).unwrap_err();
        assert!(matches!(error, LoadError::Call { .. }));
        let text = error.to_string();
        assert!(
            text.contains("validate-settings") && text.contains(code),
            "{text}"
        );
    }
    for (deed, expected) in [
        (
            "loops",
            "describe failed: the policy used up its fuel (POLICY_FUEL)",
        ),
        ("panic", "describe failed: the policy failed: "),
        ("wrong", "settings schema is not a JSON object"),
    ] {
        let text = refusal(describing(deed)).to_string();
        assert!(text.contains(expected), "{text}");
    }
}

/// The hostile guest with another deed in `describe`.
pub(super) fn describing(deed: &str) -> Vec<u8> {
    let marker = b"describe-deed=";
    let mut bytes = guest("hostile");
    let at = bytes.windows(marker.len()).position(|part| part == marker);
    let start = at.unwrap() + marker.len();
    // The last letters stand behind the marker's own copy in the comparison.
    let places: Vec<usize> = (start..bytes.len() - deed.len())
        .filter(|&place| bytes[place..].starts_with(b"names"))
        .collect();
    assert!(!places.is_empty());
    for place in places {
        bytes[place..place + deed.len()].copy_from_slice(deed.as_bytes());
    }
    bytes
}

#[test]
fn a_guest_refuses_settings_in_its_own_words() {
    let error = load("hostile", json!({"validate": "refuse"})).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the policy refuses its settings: validate: is not to my liking "
    );
}

#[test]
fn settings_without_a_canonical_form_are_refused() {
    let error = load("hostile", json!({"cap": 1.5})).unwrap_err();
    assert!(matches!(error, LoadError::Settings(_)));
}

#[test]
fn limits_beyond_the_engine_are_refused() {
    let limits = Limits {
        memory_bytes: ENGINE.settings().max_memory_bytes + 1,
        ..Limits::default()
    };
    let source = crate::PolicySource {
        limits,
        ..source(guest("hostile"), json!({}))
    };
    let error = Policy::load(&ENGINE, source).unwrap_err();
    assert!(error.to_string().starts_with("the limit memory_bytes is "));
}

#[test]
fn a_component_that_needs_more_memory_than_it_may_have_is_not_loaded() {
    let limits = Limits {
        memory_bytes: 64 << 10,
        ..Limits::default()
    };
    let source = crate::PolicySource {
        limits,
        ..source(guest("hostile"), json!({}))
    };
    assert!(matches!(
        Policy::load(&ENGINE, source),
        Err(LoadError::Instantiate(_))
    ));
}
