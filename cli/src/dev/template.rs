//! The configuration of a development home.

use std::path::Path;

use super::jwt;

/// What differs between homes.
pub(super) struct Values<'a> {
    pub(super) module: &'a Path,
    pub(super) token: &'a str,
    pub(super) softhsm: bool,
    pub(super) environment: &'a [(String, String)],
}

/// `sealwright.toml`. Paths start at the home.
pub(super) fn config(values: &Values<'_>) -> String {
    let module = quoted(&values.module.display().to_string());
    let token = values.token;
    let issuer = quoted(jwt::ISSUER);
    let mut environment = String::new();
    if values.softhsm {
        environment.push_str("SOFTHSM2_CONF = \"softhsm2.conf\"\n");
    }
    for (name, value) in values.environment {
        environment.push_str(&format!("{} = {}\n", quoted(name), quoted(value)));
    }
    format!(
        r#"# A signer for development, made by `sealwright dev`. Relative paths start at this folder.
trust_domain = "cluster.local"
default_issuer = "default"

[server]
listen = "127.0.0.1:0"
state = "front"

[http]
listen = "127.0.0.1:0"

[[authenticators]]
name = "mtls"
kind = "client-certificate"

[[authenticators]]
name = "kubernetes"
kind = "jwt"
issuer = {issuer}
audiences = ["istio-ca"]
jwks_file = "jwks.json"
algorithms = ["ES256"]

[[issuers]]
name = "default"
key = "pkcs11:object=issuing;id=%01"
chain = "issuer-chain.pem"
roots = "roots.pem"
# Nobody has to agree on its policies, and nobody should rely on its certificates.
rehearsal = true
policies = ["baseline"]

[[policies]]
name = "baseline"
module = "policies/baseline.wasm"
[policies.settings]
trust_domains = ["cluster.local"]
excluded_namespaces = ["kube-system"]

[gate]
home = "gate"
[gate.token]
module = {module}
uri = "pkcs11:token={token}"
pin_file = "pin"
health_key = "pkcs11:object=health;id=%03"
[gate.env]
{environment}[gate.serving]
issuer = "default"
dns = ["localhost", "istiod.istio-system.svc"]
ips = ["127.0.0.1", "::1"]
"#
    )
}

/// SoftHSM's configuration for tokens in `tokens`.
pub(super) fn softhsm_conf(tokens: &Path) -> String {
    format!(
        "directories.tokendir = {}\nobjectstore.backend = file\nlog.level = ERROR\nslots.removable = false\n",
        tokens.display()
    )
}

/// A TOML basic string.
fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Settings;

    #[test]
    fn the_configuration_is_one() {
        let environment = [("KRYOPTIC_CONF".to_owned(), "/a \"b\"".to_owned())];
        for softhsm in [true, false] {
            let text = config(&Values {
                module: Path::new("/usr/lib/a \"module\".so"),
                token: "sealwright",
                softhsm,
                environment: &environment,
            });
            let settings: Settings = toml::from_str(&text).unwrap();
            settings.gate_file().validate().unwrap();
            assert_eq!(settings.gate.env["KRYOPTIC_CONF"], "/a \"b\"");
            assert_eq!(settings.gate.env.contains_key("SOFTHSM2_CONF"), softhsm);
        }
    }
}
