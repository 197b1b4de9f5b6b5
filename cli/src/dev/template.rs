//! The configuration of a development home.

use std::path::Path;

use super::jwt;
use crate::files::quoted;

/// What differs between homes.
pub(super) struct Values<'a> {
    pub(super) module: &'a Path,
    pub(super) token: &'a str,
    pub(super) softhsm: bool,
    pub(super) keys: &'a Keys,
    pub(super) environment: &'a [(String, String)],
}

/// What the ceremony says of the keys that it made.
pub(super) struct Keys {
    pub(super) issuing: String,
    pub(super) health: String,
    pub(super) roster: String,
}

impl Keys {
    /// From the fragment of a configuration that the ceremony wrote; `None` when it is not one.
    pub(super) fn from_fragment(text: &str) -> Option<Self> {
        let fragment: toml::Table = text.parse().ok()?;
        let text = |value: &toml::Value| Some(value.as_str()?.to_owned());
        let issuer = fragment.get("issuers")?.as_array()?.first()?;
        let token = fragment.get("gate")?.get("token")?;
        let rosters = fragment.get("ceremonies")?.get("rosters")?.as_array()?;
        Some(Self {
            issuing: text(issuer.get("key")?)?,
            health: text(token.get("health_key")?)?,
            roster: text(rosters.first()?)?,
        })
    }
}

/// `sealwright.toml`. Paths start at the home.
pub(super) fn config(values: &Values<'_>) -> String {
    let module = quoted(&values.module.display().to_string());
    let token = values.token;
    let issuer = quoted(jwt::ISSUER);
    let Keys {
        issuing,
        health,
        roster,
    } = values.keys;
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
key = "{issuing}"
chain = "issuer-chain.pem"
roots = "roots.pem"
# The transcript of the rehearsed ceremony that made the key.
ceremony = "ceremony"
# Nobody has to agree on its policies, and nobody should rely on its certificates.
rehearsal = true
policies = ["baseline"]

[ceremonies]
rosters = ["{roster}"]

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
health_key = "{health}"
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Settings;

    #[test]
    fn the_configuration_is_one() {
        let environment = [("KRYOPTIC_CONF".to_owned(), "/a \"b\"".to_owned())];
        let keys = Keys {
            issuing: "pkcs11:object=issuing;id=%01".to_owned(),
            health: "pkcs11:object=health".to_owned(),
            roster: format!("sha256:{}", "0".repeat(64)),
        };
        for softhsm in [true, false] {
            let text = config(&Values {
                module: Path::new("/usr/lib/a \"module\".so"),
                token: "sealwright",
                softhsm,
                keys: &keys,
                environment: &environment,
            });
            let settings: Settings = toml::from_str(&text).unwrap();
            settings.gate_file().validate().unwrap();
            assert_eq!(settings.gate.env["KRYOPTIC_CONF"], "/a \"b\"");
            assert_eq!(settings.gate.env.contains_key("SOFTHSM2_CONF"), softhsm);
        }
    }
}
