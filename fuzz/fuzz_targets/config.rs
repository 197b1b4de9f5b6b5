//! The configuration file, through the binary's own loader.
//!
//! Claims: no text makes the loader panic; a refusal names the file, and a place or a key in it; what loads has
//! been judged whole: names are usable, lifetimes are in order, every reference leads somewhere, relative paths
//! are resolved, and what `sealwright check` derives from it (token, keys, ceilings, settings' digests) is
//! derived without a panic and the same by the front and by the gate.
#![no_main]

// The binary is no library; these two files of it are taken as they are.
#[allow(dead_code)]
#[path = "../../cli/src/failure.rs"]
mod failure;
#[allow(dead_code)]
#[path = "../../cli/src/settings.rs"]
mod settings;

/// Where the first of them tells people what went wrong; nobody listens here.
mod output {
    pub(crate) fn notice(_: &str) {}
}

use std::{fs, path::PathBuf, sync::LazyLock};

use libfuzzer_sys::fuzz_target;
use sealwright_fuzz::seeds;
use sealwright_hsm::KeySelector;
use sealwright_policy_wasm::canonical_settings;
use settings::Loaded;

/// In memory where there is such a place.
static FILE: LazyLock<PathBuf> = LazyLock::new(|| {
    let memory = PathBuf::from("/dev/shm");
    let folder = if memory.is_dir() {
        memory
    } else {
        std::env::temp_dir()
    };
    folder.join(format!("sealwright-fuzz-{}.toml", std::process::id()))
});

fuzz_target!(
    init: { seeds::write(first()) },
    |text: &str| {
        fs::write(&*FILE, text).expect("the file is ours");
        match settings::load(&FILE, &[]) {
            Ok(loaded) => usable(&loaded),
            Err(failure) => refused(text, &failure.to_string()),
        }
        // Not left behind when the run ends, however it does.
        fs::remove_file(&*FILE).expect("the file is ours");
    }
);

fn refused(text: &str, error: &str) {
    let file = FILE.display().to_string();
    let rest = error
        .strip_prefix(&file)
        .unwrap_or_else(|| panic!("no file in {error:?}"));
    let place = rest.strip_prefix(" line ").is_some_and(|rest| {
        let number: String = rest.chars().take_while(char::is_ascii_digit).collect();
        let lines = text.bytes().filter(|octet| *octet == b'\n').count();
        number
            .parse()
            .is_ok_and(|line: usize| (1..=lines + 1).contains(&line))
    });
    let key = KEYS.iter().any(|key| rest.contains(key));
    assert!(place || key, "neither a line nor a key in {error:?}");
}

/// Sections, one of which stands in every refusal that has no line.
const KEYS: [&str; 12] = [
    "trust_domain",
    "default_issuer",
    "server",
    "http",
    "log",
    "authenticator",
    "issuers",
    "policies",
    "policy_host",
    "gate",
    "missing field",
    "key",
];

fn usable(loaded: &Loaded) {
    let settings = &loaded.settings;
    assert!(
        loaded.file.is_absolute() && settings.gate.home.is_absolute() && settings.server.state.is_absolute()
    );
    assert!(
        settings
            .issuers
            .iter()
            .any(|issuer| issuer.name == settings.default_issuer)
    );
    for issuer in &settings.issuers {
        assert!((1..=64).contains(&issuer.name.len()));
        assert!(issuer.chain.is_absolute() && issuer.roots.is_absolute());
        assert!(
            issuer
                .policies
                .iter()
                .all(|name| settings.policies.iter().any(|policy| policy.name == *name))
        );
        let known = |name: &String| settings.authenticators.iter().any(|one| one.name == *name);
        assert!(issuer.authenticators.iter().all(known));
        let ceiling = issuer.ceiling.for_trust_domain(&settings.trust_domain);
        assert!(ceiling.default_lifetime <= ceiling.max_lifetime);
        assert!(!ceiling.usages.is_empty() && !ceiling.key_types.is_empty());
        let life = issuer.ceiling.max_lifetime;
        assert_eq!(life.to_string().parse().ok(), Some(life));
        if let Ok(selector) = issuer.key.parse::<KeySelector>() {
            assert_eq!(selector.to_string().parse::<KeySelector>().ok(), Some(selector));
        }
    }
    for policy in &settings.policies {
        assert!(policy.module.is_absolute() && policy.fuel > 0);
        // Front and gate each compute the digest of the settings.
        if let Ok(text) = canonical_settings(&policy.settings) {
            let other = serde_json_canonicalizer::to_string(&policy.settings).expect("the gate takes it too");
            assert_eq!(text, other);
        }
    }
    for authenticator in &settings.authenticators {
        let mut authenticator = authenticator.clone();
        assert!(authenticator.paths_mut().all(|path| path.is_absolute()));
    }
    assert!(settings.server.max_message_bytes <= settings.server.max_buffered_bytes);
    let _ = sealwright_gate::server::token_config(&settings.gate.token);
    settings.gate_file().validate().expect("it was judged before");
}

fn first() -> Vec<(&'static str, Vec<u8>)> {
    let whole = include_str!("../../docs/samples/sealwright.toml");
    let short = "trust_domain = \"a\"\ndefault_issuer = \"i\"\n[[issuers]]\nname = \"i\"\nkey = \"pkcs11:object=k\"\n\
                 chain = \"c\"\nroots = \"r\"\nrehearsal = true\n[gate]\nhome = \"g\"\n[gate.token]\nmodule = \"m\"\nlabel = \"t\"\npin_fd = 3\n";
    let review = "[[authenticators]]\nname = \"k\"\nkind = \"token-review\"\naudiences = [\"istio-ca\"]\n\
                  clusters = [{ id = \"Kubernetes\", kubeconfig = \"k\" }]\n";
    let table = |value: &str| {
        format!("{short}[[policies]]\nname = \"p\"\nmodule = \"m\"\n[policies.settings]\n{value}\n")
    };
    vec![
        ("sample", whole.as_bytes().to_vec()),
        ("short", short.as_bytes().to_vec()),
        ("review", format!("{short}{review}").into_bytes()),
        ("settings", table("a = [1, { b = \"c\" }, true]").into_bytes()),
        ("float", table("a = 1.5").into_bytes()),
        ("large", table("a = 9007199254740993").into_bytes()),
        (
            "socket",
            short
                .replace(
                    "[gate]\n",
                    "[gate]\nsocket = \"s\"\npeers = [{ uid = 1, roles = [\"issue\", \"read\"] }]\n",
                )
                .into_bytes(),
        ),
    ]
}
