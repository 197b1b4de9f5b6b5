//! What of the operator's environment reaches which process.
//!
//! The gate gets `[gate.env]` and its file, and nothing that leaks in. The front gets what it reads: where
//! proxies and roots are, and how it finds its cluster. Whatever else a service manager or a shell holds
//! (tokens of clouds, passwords of databases) reaches neither.

use std::ffi::OsString;

use crate::settings::ENV_PREFIX;

/// What the front's libraries read.
const FRONT: &[&str] = &[
    "HTTPS_PROXY",
    "https_proxy",
    "HTTP_PROXY",
    "http_proxy",
    "ALL_PROXY",
    "all_proxy",
    "NO_PROXY",
    "no_proxy",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "KUBERNETES_SERVICE_HOST",
    "KUBERNETES_SERVICE_PORT",
    "TOKIO_WORKER_THREADS",
    "RUST_BACKTRACE",
];

/// Variables that go over the configuration file, for the gate as for everyone.
pub(crate) fn overrides() -> impl Iterator<Item = (OsString, OsString)> {
    std::env::vars_os().filter(|(name, _)| name.to_str().is_some_and(is_override))
}

/// The front's whole environment.
pub(crate) fn front() -> impl Iterator<Item = (OsString, OsString)> {
    std::env::vars_os().filter(|(name, _)| name.to_str().is_some_and(is_fronts))
}

fn is_override(name: &str) -> bool {
    name.strip_prefix(ENV_PREFIX)
        .is_some_and(|rest| rest.starts_with("__"))
}

fn is_fronts(name: &str) -> bool {
    let vendors = format!("{ENV_PREFIX}__GATE__ENV__");
    FRONT.contains(&name) || (is_override(name) && !name.to_ascii_uppercase().starts_with(&vendors))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_front_gets_what_it_reads() {
        for (name, fronts) in [
            ("HTTPS_PROXY", true),
            ("KUBERNETES_SERVICE_HOST", true),
            ("SEALWRIGHT__SERVER__LISTEN", true),
            ("SEALWRIGHT__GATE__HOME", true),
            ("SEALWRIGHT__GATE__ENV__VENDOR_PASSWORD", false),
            ("SEALWRIGHT__gate__env__vendor_password", false),
            ("SEALWRIGHT_PKCS11_MODULE", false),
            ("AWS_SECRET_ACCESS_KEY", false),
            ("LD_PRELOAD", false),
            ("HOME", false),
        ] {
            assert_eq!(is_fronts(name), fronts, "{name}");
        }
    }
}
