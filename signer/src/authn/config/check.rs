//! From the section as written to a section that can be built.

use std::time::Duration;

use reqwest::Url;
use sealwright_identity::HumanDuration;
use sealwright_policy_wasm::RESERVED_ATTRIBUTES;

use super::{
    Algorithm, AuthenticatorConfig, AuthenticatorKind, Error, FetchConfig, JwtConfig, KeyLocation, Raw,
    RawKind,
};
use crate::authn::jwt::is_fetchable;

const CLOCK_SKEW: Duration = Duration::from_secs(60);
const MAX_CLOCK_SKEW: Duration = Duration::from_secs(600);
const REFRESH_INTERVAL: Duration = Duration::from_secs(600);
const REFRESH_COOLDOWN: Duration = Duration::from_secs(10);
const MAX_STALE: Duration = Duration::from_secs(24 * 3600);
/// Some 2 KB each.
const CACHE_ENTRIES: usize = 10_000;
const MAX_CACHE_ENTRIES: usize = 1_000_000;

impl TryFrom<Raw> for AuthenticatorConfig {
    type Error = Error;

    fn try_from(mut raw: Raw) -> Result<Self, Error> {
        let usable = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if raw.name.is_empty() || raw.name.len() > 64 || !raw.name.chars().all(usable) {
            return Err(Error::Name { name: raw.name });
        }
        for name in RESERVED_ATTRIBUTES {
            if raw.attributes.contains_key(name) {
                let problem =
                    format!("attribute {name:?} is what the signer found out itself: use another name");
                return Err(raw.value("attributes", &problem));
            }
        }
        let kind = match raw.kind {
            RawKind::ClientCertificate => {
                raw.refuse_foreign_keys("for kind \"client-certificate\"")?;
                AuthenticatorKind::ClientCertificate
            }
            RawKind::Jwt => {
                raw.refuse_foreign_keys("for kind \"jwt\"")?;
                AuthenticatorKind::Jwt(Box::new(raw.jwt()?))
            }
            RawKind::TokenReview => {
                raw.refuse_foreign_keys("for kind \"token-review\"")?;
                AuthenticatorKind::TokenReview(Box::new(raw.token_review()?))
            }
        };
        Ok(Self {
            name: raw.name,
            attributes: raw.attributes,
            kind,
            hands_over: false,
        })
    }
}

impl Raw {
    fn jwt(&mut self) -> Result<JwtConfig, Error> {
        let issuer = self
            .issuer
            .take()
            .filter(|issuer| !issuer.is_empty())
            .ok_or_else(|| {
                self.missing(
                    "issuer",
                    "the `iss` of the tokens, such as \"https://kubernetes.default.svc\"",
                )
            })?;
        let audiences = self.audiences()?;
        let fetch = FetchConfig {
            ca_file: self.ca_file.take(),
            bearer_token_file: self.bearer_token_file.take(),
            allow_http_loopback: self.allow_http_loopback.unwrap_or(false),
        };
        let keys = self.key_location(&issuer, &fetch)?;
        if matches!(keys, KeyLocation::File(_)) {
            self.refuse_fetch_keys(&fetch)?;
        }
        let algorithms = self.algorithms.take().unwrap_or_else(|| Algorithm::ALL.to_vec());
        if algorithms.is_empty() {
            return Err(self.value(
                "algorithms",
                "the list is empty: name at least one, or remove the key for all",
            ));
        }
        let clock_skew = self.clock_skew()?;
        let max_stale = duration(self.max_stale, MAX_STALE);
        let refresh_interval = duration(self.refresh_interval, REFRESH_INTERVAL.min(max_stale));
        if refresh_interval > max_stale {
            return Err(self.value(
                "refresh_interval",
                "longer than max_stale, so keys would go stale before they are fetched: lower it",
            ));
        }
        Ok(JwtConfig {
            issuer,
            audiences,
            keys,
            fetch,
            algorithms,
            subject: self.subject.unwrap_or_default(),
            clock_skew,
            refresh_interval,
            refresh_cooldown: duration(self.refresh_cooldown, REFRESH_COOLDOWN),
            max_stale,
            cache_entries: self.cache_entries(CACHE_ENTRIES)?,
        })
    }

    pub(super) fn audiences(&mut self) -> Result<Vec<String>, Error> {
        let audiences = self
            .audiences
            .take()
            .filter(|all| !all.is_empty())
            .ok_or_else(|| self.missing("audiences", "a list such as [\"istio-ca\"]"))?;
        if audiences.iter().any(String::is_empty) {
            return Err(self.value("audiences", "an audience cannot be empty: remove it"));
        }
        Ok(audiences)
    }

    pub(super) fn cache_entries(&self, default: usize) -> Result<usize, Error> {
        let entries = self.cache_entries.unwrap_or(default);
        if entries > MAX_CACHE_ENTRIES {
            return Err(self.value("cache_entries", "above 1000000: lower it"));
        }
        Ok(entries)
    }

    pub(super) fn clock_skew(&self) -> Result<Duration, Error> {
        let clock_skew = duration(self.clock_skew, CLOCK_SKEW);
        if clock_skew > MAX_CLOCK_SKEW {
            return Err(self.value("clock_skew", "above 10m, which no clock in order needs: lower it"));
        }
        Ok(clock_skew)
    }

    fn key_location(&mut self, issuer: &str, fetch: &FetchConfig) -> Result<KeyLocation, Error> {
        let discovery = self.discovery.unwrap_or(false);
        match (self.jwks_file.take(), self.jwks_url.take(), discovery) {
            (Some(path), None, false) => Ok(KeyLocation::File(path)),
            (None, Some(url), false) => self.url("jwks_url", &url, fetch).map(KeyLocation::Url),
            (None, None, true) => self.url("issuer", issuer, fetch).map(KeyLocation::Discovery),
            (None, None, false) => Err(self.missing(
                "jwks_file",
                "name the issuer's keys with one of jwks_file, jwks_url and discovery = true",
            )),
            _ => Err(self.value(
                "jwks_file",
                "keep one of jwks_file, jwks_url and discovery, and remove the others",
            )),
        }
    }

    fn url(&self, key: &'static str, text: &str, fetch: &FetchConfig) -> Result<Url, Error> {
        let url = Url::parse(text).map_err(|error| {
            self.value(
                key,
                &format!("{text:?} is not a URL ({error}): write https://HOST/PATH"),
            )
        })?;
        if is_fetchable(&url, fetch.allow_http_loopback) {
            return Ok(url);
        }
        Err(self.value(
            key,
            &format!("keys are fetched over https only, not from {text:?}, and without a user in the URL (http to a loopback address: allow_http_loopback = true)"),
        ))
    }

    fn refuse_fetch_keys(&self, fetch: &FetchConfig) -> Result<(), Error> {
        let place = "beside jwks_file";
        if fetch.ca_file.is_some() {
            return Err(self.misplaced("ca_file", place));
        }
        if fetch.bearer_token_file.is_some() {
            return Err(self.misplaced("bearer_token_file", place));
        }
        Ok(())
    }

    /// Refuses the first key that belongs to other kinds only.
    fn refuse_foreign_keys(&self, place: &'static str) -> Result<(), Error> {
        const JWT: &[RawKind] = &[RawKind::Jwt];
        const REVIEW: &[RawKind] = &[RawKind::TokenReview];
        const BOTH: &[RawKind] = &[RawKind::Jwt, RawKind::TokenReview];
        let foreign = [
            ("issuer", self.issuer.is_some(), JWT),
            ("audiences", self.audiences.is_some(), BOTH),
            ("jwks_file", self.jwks_file.is_some(), JWT),
            ("jwks_url", self.jwks_url.is_some(), JWT),
            ("discovery", self.discovery.is_some(), JWT),
            ("ca_file", self.ca_file.is_some(), JWT),
            ("bearer_token_file", self.bearer_token_file.is_some(), JWT),
            ("allow_http_loopback", self.allow_http_loopback.is_some(), BOTH),
            ("algorithms", self.algorithms.is_some(), JWT),
            ("subject", self.subject.is_some(), JWT),
            ("clock_skew", self.clock_skew.is_some(), BOTH),
            ("refresh_interval", self.refresh_interval.is_some(), JWT),
            ("refresh_cooldown", self.refresh_cooldown.is_some(), JWT),
            ("max_stale", self.max_stale.is_some(), JWT),
            ("clusters", self.clusters.is_some(), REVIEW),
            ("deadline", self.deadline.is_some(), REVIEW),
            ("cache_for", self.cache_for.is_some(), REVIEW),
            ("cache_entries", self.cache_entries.is_some(), BOTH),
            ("max_in_flight", self.max_in_flight.is_some(), REVIEW),
            ("max_waiting", self.max_waiting.is_some(), REVIEW),
        ]
        .into_iter()
        .find(|(_, present, of)| *present && !of.contains(&self.kind));
        match foreign {
            Some((key, ..)) => Err(self.misplaced(key, place)),
            None => Ok(()),
        }
    }

    pub(super) fn missing(&self, key: &'static str, fix: &'static str) -> Error {
        Error::Missing {
            name: self.name.clone(),
            key,
            fix,
        }
    }

    fn misplaced(&self, key: &'static str, place: &'static str) -> Error {
        Error::Misplaced {
            name: self.name.clone(),
            key,
            place,
        }
    }

    pub(super) fn value(&self, key: &'static str, problem: &str) -> Error {
        Error::Value {
            name: self.name.clone(),
            key,
            problem: problem.to_owned(),
        }
    }
}

pub(super) fn duration(given: Option<HumanDuration>, default: Duration) -> Duration {
    given.map_or(default, HumanDuration::get)
}
