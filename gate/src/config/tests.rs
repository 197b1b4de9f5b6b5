//! The sample parses; each mistake is refused by a text that names the key.

use sealwright_identity::KeyType;

use super::*;

const SAMPLE: &str = r#"
trust_domain = "cluster.local"
trust_domain_aliases = ["old.local"]
default_issuer = "default"

[[issuers]]
name = "default"
key = "pkcs11:object=issuing;id=%01"
chain = "issuer-chain.pem"
roots = "roots.pem"
authenticators = ["mtls", "kubernetes"]
rehearsal = true
policies = ["baseline"]
[issuers.ceiling]
default_lifetime = "24h"
max_lifetime = "90d"
key_types = ["p256", "p384", "ed25519", "rsa2048", "rsa3072", "rsa4096"]
usages = ["server", "client"]
dns = []
common_name = "none"

[[policies]]
name = "baseline"
module = "policies/baseline.wasm"
fuel = 10000000
[policies.settings]
trust_domains = ["cluster.local"]

[gate]
home = "gate"
boundary = "auto"
disk_reserve_bytes = 67108864
max_records_per_second = 20000
[gate.token]
module = "/usr/lib/softhsm/libsofthsm2.so"
uri = "pkcs11:token=sealwright"
pin_file = "pin"
health_key = "pkcs11:object=health"
sessions = 2
queue = 256
deadline = "5s"
[gate.env]
SOFTHSM2_CONF = "softhsm2.conf"
[gate.serving]
issuer = "default"
dns = ["localhost", "istiod.istio-system.svc"]
ips = ["127.0.0.1", "::1"]
lifetime = "24h"
"#;

fn sample() -> GateFile {
    toml::from_str(SAMPLE).unwrap()
}

fn refused(change: impl FnOnce(&mut GateFile)) -> ConfigError {
    let mut file = sample();
    change(&mut file);
    file.validate().unwrap_err()
}

#[test]
fn the_sample_is_valid() {
    let mut file = sample();
    file.validate().unwrap();
    file.resolve(Path::new("/etc/sealwright"));
    assert_eq!(file.gate.home, Path::new("/etc/sealwright/gate"));
    assert_eq!(
        file.gate.token.module,
        Path::new("/usr/lib/softhsm/libsofthsm2.so")
    );
    assert_eq!(
        file.policies[0].module,
        Path::new("/etc/sealwright/policies/baseline.wasm")
    );
    let ceiling = file.issuers[0].ceiling.for_trust_domain(&file.trust_domain);
    assert_eq!(ceiling.max_lifetime.as_secs(), 90 * 86_400);
}

#[test]
fn unknown_keys_are_refused() {
    for (section, line) in [
        ("[gate]", "hom = \"x\""),
        ("[issuers.ceiling]", "max_lifetme = \"1h\""),
        ("[gate.token]", "pin = \"1234\""),
    ] {
        let text = SAMPLE.replace(section, &format!("{section}\n{line}"));
        let error = toml::from_str::<GateFile>(&text).unwrap_err();
        assert!(error.to_string().contains("unknown field"), "{error}");
    }
}

#[test]
fn each_mistake_names_its_key() {
    let table: Vec<(&str, ConfigError)> = vec![
        ("issuers", refused(|file| file.issuers.clear())),
        (
            "default_issuer",
            refused(|file| file.default_issuer = "other".into()),
        ),
        (
            "issuers.default.key",
            refused(|file| file.issuers[0].key = "issuing".into()),
        ),
        (
            "issuers.default.policies",
            refused(|file| file.issuers[0].policies.push("absent".into())),
        ),
        (
            "issuers.default.policies",
            refused(|file| file.issuers[0].policies.push("baseline".into())),
        ),
        (
            "issuers.default.ceiling.default_lifetime",
            refused(|file| file.issuers[0].ceiling.max_lifetime = "1h".parse().unwrap()),
        ),
        (
            "issuers.default.ceiling.key_types",
            refused(|file| file.issuers[0].ceiling.key_types.push(KeyType::MlDsa65)),
        ),
        (
            "policies.baseline.fuel",
            refused(|file| file.policies[0].fuel = 0),
        ),
        (
            "policies.baseline.settings.share",
            refused(|file| file.policies[0].settings["share"] = 0.5.into()),
        ),
        (
            "policies.baseline.settings.list[0]",
            refused(|file| {
                file.policies[0].settings["list"] = vec![(1u64 << 53) + 1].into();
            }),
        ),
        (
            "gate.token",
            refused(|file| file.gate.token.label = Some("second".into())),
        ),
        ("gate.token", refused(|file| file.gate.token.pin_prompt = true)),
        (
            "gate.token.sessions",
            refused(|file| file.gate.token.sessions = 0),
        ),
        (
            "gate.peers",
            refused(|file| file.gate.socket = Some("/run/gate.sock".into())),
        ),
        (
            "gate.serving.issuer",
            refused(|file| file.gate.serving.as_mut().unwrap().issuer = "x".into()),
        ),
        (
            "issuers.name",
            refused(|file| file.issuers.push(file.issuers[0].clone())),
        ),
    ];
    for (key, error) in table {
        assert_eq!(error.key, key, "{error}");
    }
}
