//! From the section as written to a section that can be built.

use std::time::Duration;

use reqwest::Url;
use sealwright_identity::HumanDuration;

use super::{
    Algorithm, AuthenticatorConfig, AuthenticatorKind, Error, FetchConfig, JwtConfig, KeyLocation,
    Raw, RawKind,
};
use crate::authn::jwt::is_fetchable;

const CLOCK_SKEW: Duration = Duration::from_secs(60);
const MAX_CLOCK_SKEW: Duration = Duration::from_secs(600);
const REFRESH_INTERVAL: Duration = Duration::from_secs(600);
const REFRESH_COOLDOWN: Duration = Duration::from_secs(10);
const MAX_STALE: Duration = Duration::from_secs(24 * 3600);

impl TryFrom<Raw> for AuthenticatorConfig {
    type Error = Error;

    fn try_from(mut raw: Raw) -> Result<Self, Error> {
        let usable = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if raw.name.is_empty() || raw.name.len() > 64 || !raw.name.chars().all(usable) {
            return Err(Error::Name { name: raw.name });
        }
        let kind = match raw.kind {
            RawKind::ClientCertificate => {
                if let Some(key) = raw.first_jwt_key() {
                    return Err(raw.misplaced(key, "for kind \"client-certificate\""));
                }
                AuthenticatorKind::ClientCertificate
            }
            RawKind::Jwt => AuthenticatorKind::Jwt(Box::new(raw.jwt()?)),
        };
        Ok(Self {
            name: raw.name,
            attributes: raw.attributes,
            kind,
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
        let audiences = self
            .audiences
            .take()
            .filter(|all| !all.is_empty())
            .ok_or_else(|| self.missing("audiences", "a list such as [\"istio-ca\"]"))?;
        if audiences.iter().any(String::is_empty) {
            return Err(self.value("audiences", "an audience cannot be empty: remove it"));
        }
        let fetch = FetchConfig {
            ca_file: self.ca_file.take(),
            bearer_token_file: self.bearer_token_file.take(),
            allow_http_loopback: self.allow_http_loopback.unwrap_or(false),
        };
        let keys = self.key_location(&issuer, &fetch)?;
        if matches!(keys, KeyLocation::File(_)) {
            self.refuse_fetch_keys(&fetch)?;
        }
        let algorithms = self
            .algorithms
            .take()
            .unwrap_or_else(|| Algorithm::ALL.to_vec());
        if algorithms.is_empty() {
            return Err(self.value(
                "algorithms",
                "the list is empty: name at least one, or remove the key for all",
            ));
        }
        let clock_skew = duration(self.clock_skew, CLOCK_SKEW);
        if clock_skew > MAX_CLOCK_SKEW {
            return Err(self.value(
                "clock_skew",
                "above 10m, which no clock in order needs: lower it",
            ));
        }
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
        })
    }

    fn key_location(&mut self, issuer: &str, fetch: &FetchConfig) -> Result<KeyLocation, Error> {
        let discovery = self.discovery.unwrap_or(false);
        match (self.jwks_file.take(), self.jwks_url.take(), discovery) {
            (Some(path), None, false) => Ok(KeyLocation::File(path)),
            (None, Some(url), false) => self.url("jwks_url", &url, fetch).map(KeyLocation::Url),
            (None, None, true) => self
                .url("issuer", issuer, fetch)
                .map(KeyLocation::Discovery),
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

    fn first_jwt_key(&self) -> Option<&'static str> {
        [
            ("issuer", self.issuer.is_some()),
            ("audiences", self.audiences.is_some()),
            ("jwks_file", self.jwks_file.is_some()),
            ("jwks_url", self.jwks_url.is_some()),
            ("discovery", self.discovery.is_some()),
            ("ca_file", self.ca_file.is_some()),
            ("bearer_token_file", self.bearer_token_file.is_some()),
            ("allow_http_loopback", self.allow_http_loopback.is_some()),
            ("algorithms", self.algorithms.is_some()),
            ("subject", self.subject.is_some()),
            ("clock_skew", self.clock_skew.is_some()),
            ("refresh_interval", self.refresh_interval.is_some()),
            ("refresh_cooldown", self.refresh_cooldown.is_some()),
            ("max_stale", self.max_stale.is_some()),
        ]
        .into_iter()
        .find_map(|(key, present)| present.then_some(key))
    }

    fn missing(&self, key: &'static str, fix: &'static str) -> Error {
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

    fn value(&self, key: &'static str, problem: &str) -> Error {
        Error::Value {
            name: self.name.clone(),
            key,
            problem: problem.to_owned(),
        }
    }
}

fn duration(given: Option<HumanDuration>, default: Duration) -> Duration {
    given.map_or(default, HumanDuration::get)
}
