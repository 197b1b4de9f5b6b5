//! The token: module, PIN, mechanisms, keys. Runs in the gate's environment.

use std::{os::unix::fs::PermissionsExt, time::Duration};

use sealwright_gate::{
    issuers::{Issuer, Issuers},
    server::token_config,
};
use sealwright_hsm::{
    Inspection, KeySelector, LoginAdvice, Metrics, PinSource, Pkcs11Uri, PoolConfig, SessionPool, Token,
    TokenConfig, inspect,
};
use sealwright_identity::{Clock, KeyType, SystemClock};
use sealwright_runtime::Chain;

use super::item::Item;
use crate::settings::Loaded;

const PROBE_DEADLINE: Duration = Duration::from_secs(20);

pub(super) fn check(loaded: &Loaded, held: bool) -> Vec<Item> {
    let gate = &loaded.settings.gate;
    let config = match token_config(&gate.token) {
        Ok(config) => config,
        Err(error) => return vec![Item::failed("token", Chain(&error), "see [gate.token]")],
    };
    let inspection = match inspect(&config, &gate.home) {
        Ok(inspection) => inspection,
        Err(error) => {
            let fix = "see gate.token.module, gate.token.uri, [gate.env] and [gate.confinement]";
            return vec![Item::failed("token", Chain(&error), fix)];
        }
    };
    let token = &inspection.token;
    let mut items = vec![Item::good(
        "token",
        format!("{} (serial {}), {}", token.label, token.serial, token.library),
    )];
    let issuers = Issuers::load(&loaded.settings.gate_file(), SystemClock.now());
    let issuers: Vec<_> = issuers.iter().flat_map(Issuers::iter).collect();
    items.push(mechanisms(
        &inspection,
        issuers.iter().map(|issuer| issuer.chain.key_type()),
    ));
    if held {
        items.push(Item::held("PIN", "not tried: the running signer is logged in"));
        return items;
    }
    match may_login(&config, &inspection) {
        Err(item) => items.push(item),
        Ok(()) => items.extend(login(loaded, &config, &issuers)),
    }
    items
}

/// One login, or none when something speaks against it.
fn may_login(config: &TokenConfig, inspection: &Inspection) -> Result<(), Item> {
    let not_tried = |why: String, fix| Err(Item::refused("PIN", format!("not tried: {why}"), fix));
    match inspection.login {
        LoginAdvice::MarkerSays(refusal) => not_tried(
            format!("the token refused it before ({refusal})"),
            "correct the PIN's source, or run `sealwright gate reset-pin --config FILE`",
        ),
        LoginAdvice::TokenSays(state) => not_tried(
            format!("the token reports {state:?}"),
            "log in once with a tool of the token's vendor, which resets its count of wrong PINs",
        ),
        _ => match &config.pin {
            PinSource::File(_) => Ok(()),
            _ => Err(Item::warning(
                "PIN",
                "not tried: it is read once, from a descriptor or a prompt",
                "after a restart of the gate it waits for an operator; a file does not",
            )),
        },
    }
}

fn login(loaded: &Loaded, config: &TokenConfig, issuers: &[&std::sync::Arc<Issuer>]) -> Vec<Item> {
    let gate = &loaded.settings.gate;
    let fix = "correct gate.token.pin_file; then run `sealwright gate reset-pin --config FILE`";
    // The marker of a refusal must find its folder.
    if let Err(error) = std::fs::create_dir_all(&gate.home) {
        return vec![Item::failed(
            "PIN",
            error,
            "make gate.home writable for this user",
        )];
    }
    let token = match Token::open(config, &gate.home) {
        Ok(token) => token,
        Err(error) if error.is_pin() => return vec![Item::refused("PIN", Chain(&error), fix)],
        Err(error) => return vec![Item::failed("PIN", Chain(&error), "see [gate.token]")],
    };
    let mut items = vec![accepted(config)];
    items.extend(issuers.iter().map(|issuer| issuer_key(&token, issuer)));
    items.push(health_key(token, gate.token.health_key.as_deref()));
    items
}

fn accepted(config: &TokenConfig) -> Item {
    let open_to_others = match &config.pin {
        PinSource::File(path) => std::fs::metadata(path)
            .is_ok_and(|file| file.permissions().mode() & 0o077 != 0)
            .then(|| path.display()),
        _ => None,
    };
    match open_to_others {
        Some(path) => Item::warning(
            "PIN",
            format!("accepted, but others may read {path}"),
            "chmod 600",
        ),
        None => Item::good("PIN", "one login, accepted"),
    }
}

fn selector(uri: &str) -> Result<KeySelector, String> {
    let uri: Pkcs11Uri = uri.parse().map_err(|error| Chain(&error).to_string())?;
    KeySelector::try_from(uri).map_err(|error| Chain(&error).to_string())
}

fn issuer_key(token: &Token, issuer: &Issuer) -> Item {
    let name = format!("key of issuer {}", issuer.name);
    let found = selector(&issuer.key).and_then(|selector| {
        token
            .find_key(&selector)
            .map_err(|error| Chain(&error).to_string())
    });
    match found {
        Ok(key) if key.spki_der() == issuer.chain.spki_der() => {
            Item::good(&name, format!("{}, the chain's own", key.key_type()))
        }
        Ok(_) => Item::failed(
            &name,
            format!("{} is not the key of the issuing certificate", issuer.key),
            "correct issuers.key, or issuers.chain",
        ),
        Err(error) => Item::failed(
            &name,
            error,
            "correct issuers.key: label and id of exactly one key",
        ),
    }
}

fn health_key(token: Token, uri: Option<&str>) -> Item {
    let fix = "make a key for probes and name it in gate.token.health_key; never an issuer's";
    let Some(uri) = uri else {
        return Item::warning(
            "health key",
            "there is none, so a dead token is noticed late",
            fix,
        );
    };
    let probe = || -> Result<(), String> {
        let text = |error: &dyn std::error::Error| Chain(error).to_string();
        let key = token
            .find_health_key(&selector(uri)?)
            .map_err(|error| text(&error))?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| text(&error))?;
        let config = PoolConfig {
            sessions: 1,
            queue: 1,
            deadline: PROBE_DEADLINE,
        };
        runtime.block_on(async {
            let pool = SessionPool::start(token.clone(), config, Metrics::default());
            let outcome = pool.probe(&key, PROBE_DEADLINE).await;
            // A process that ends while a worker is inside the module may never end.
            pool.close(PROBE_DEADLINE).await;
            outcome.map_err(|error| text(&error))
        })
    };
    match probe() {
        Ok(()) => Item::good("health key", "signed a probe, verified"),
        Err(error) => Item::failed("health key", error, fix),
    }
}

fn mechanisms(inspection: &Inspection, key_types: impl Iterator<Item = KeyType>) -> Item {
    let needed = |key_type| match key_type {
        KeyType::P256 | KeyType::P384 => "CKM_ECDSA",
        KeyType::Ed25519 => "CKM_EDDSA",
        KeyType::Rsa(_) => "CKM_RSA_PKCS",
        KeyType::MlDsa65 => "CKM_ML_DSA",
    };
    let has = |name: &str| inspection.mechanisms.iter().any(|mechanism| mechanism == name);
    let mut wanted: Vec<_> = key_types.map(needed).collect();
    wanted.sort_unstable();
    wanted.dedup();
    match wanted.iter().find(|name| !has(name)) {
        Some(missing) => Item::failed(
            "mechanisms",
            format!("the token does not offer {missing}"),
            "use an issuing key of a kind that the token signs with",
        ),
        None => Item::good("mechanisms", wanted.join(", ")),
    }
}
