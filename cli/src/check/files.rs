//! What the configuration names: chains, policies, key sets.

use std::sync::Arc;

use sealwright_gate::issuers::{Issuers, pinned_keys};
use sealwright_identity::{Clock, SharedClock, SystemClock, TrustBundle};
use sealwright_policy_wasm::{Engine, EngineSettings};
use sealwright_runtime::Chain;
use sealwright_signer::{
    authn::{Authenticators, Trust},
    catalog::{Catalog, CatalogConfig},
};
use tokio::sync::watch;

use super::item::Item;
use crate::settings::Loaded;

/// Part of an issuer's life at which it should be replaced.
const WARN_DIVISOR: u32 = 5;

pub(super) fn check(loaded: &Loaded) -> Vec<Item> {
    let now = SystemClock.now();
    let settings = &loaded.settings;
    let mut items = Vec::new();
    let issuers = match Issuers::load(&settings.gate_file(), now) {
        Ok(issuers) => issuers,
        Err(error) => {
            items.push(Item::failed(
                "issuers",
                Chain(&error),
                "mend the file that is named",
            ));
            return items;
        }
    };
    for issuer in issuers.iter() {
        let chain = &issuer.chain;
        let name = format!("issuer {}", issuer.name);
        let life = chain.not_after().saturating_since(chain.not_before());
        let left = chain.not_after().saturating_since(now);
        let found = format!(
            "{}, chain verified, valid until {}",
            chain.key_type(),
            chain.not_after()
        );
        items.push(if left < life / WARN_DIVISOR {
            Item::warning(&name, found, "less than a fifth of its life is left: renew it")
        } else {
            Item::good(&name, found)
        });
    }
    items.push(policies(loaded));
    items.push(authenticators(loaded));
    items.push(verify_caller(loaded));
    items
}

fn policies(loaded: &Loaded) -> Item {
    let settings = &loaded.settings;
    let fix = "see [[policies]]: the module, its digest and its settings";
    let engine = match Engine::new(EngineSettings::default()) {
        Ok(engine) => engine,
        Err(error) => return Item::failed("policies", Chain(&error), "the engine does not run here"),
    };
    let config = CatalogConfig {
        trust_domain: settings.trust_domain.clone(),
        default_issuer: settings.default_issuer.clone(),
        issuers: settings.issuers.clone(),
        policies: settings.policies.clone(),
    };
    match Catalog::load(&config, &engine, SystemClock.now(), None) {
        Ok(_) => {
            let unguarded = settings.issuers.iter().find(|issuer| issuer.policies.is_empty());
            match unguarded {
                Some(issuer) => Item::warning(
                    "policies",
                    format!("issuer {} has none, so it grants nothing", issuer.name),
                    "list at least one in its policies",
                ),
                None => Item::good(
                    "policies",
                    format!("{} compiled, settings accepted", settings.policies.len()),
                ),
            }
        }
        Err(error) => Item::failed("policies", Chain(&error), fix),
    }
}

/// A gate without any takes the front's word for who a caller is: good, and said.
fn verify_caller(loaded: &Loaded) -> Item {
    const NAME: &str = "verify_caller";
    let pins = &loaded.settings.gate.verify_caller;
    if pins.is_empty() {
        return Item::good(NAME, "none: the gate takes the front's word for who a caller is");
    }
    for pin in pins {
        let Some(file) = &pin.jwks_file else { continue };
        if let Err(error) = pinned_keys(&pin.authenticator, file) {
            return Item::failed(NAME, Chain(&error), "put the issuer's JWK set there");
        }
    }
    let names: Vec<_> = pins.iter().map(|pin| pin.authenticator.as_str()).collect();
    Item::good(NAME, names.join(", "))
}

fn authenticators(loaded: &Loaded) -> Item {
    let settings = &loaded.settings;
    let clock: SharedClock = Arc::new(SystemClock);
    let trust = Trust {
        domain: settings.trust_domain.clone(),
        aliases: settings.trust_domain_aliases.clone(),
    };
    let (_sender, bundle) = watch::channel(TrustBundle::from_ders(0, []));
    match Authenticators::build(&settings.authenticators, trust, bundle, clock) {
        Ok(built) if built.names().next().is_none() => Item::warning(
            "authenticators",
            "there is none, so nobody can ask for a certificate",
            "add an [[authenticators]] section",
        ),
        Ok(built) => Item::good("authenticators", built.names().collect::<Vec<_>>().join(", ")),
        Err(error) => Item::failed("authenticators", Chain(&error), "see [[authenticators]]"),
    }
}
