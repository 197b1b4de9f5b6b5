//! A server that has an issuer's key set, and how it is asked.

use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderValue};
use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, Response, StatusCode, Url};
use serde::Deserialize;

use super::{Error, KeySet, MAX_DOCUMENT_BYTES, is_fetchable, parse, read};
use crate::authn::config::FetchConfig;
use crate::authn::failure::Unverified;

/// For one request, from the connection to the end of the body.
const REQUEST_DEADLINE: Duration = Duration::from_secs(5);
const CONNECT_DEADLINE: Duration = Duration::from_secs(3);
const MAX_REDIRECTS: usize = 3;
const DISCOVERY_PATH: &str = "/.well-known/openid-configuration";

/// A server that has the key set.
#[derive(Debug)]
pub(in crate::authn::jwt) struct Server {
    client: Client,
    target: Target,
    token_file: Option<PathBuf>,
    allow_http_loopback: bool,
}

#[derive(Debug)]
pub(super) enum Target {
    Keys(Url),
    Discovery { issuer: String, url: Url },
}

impl Target {
    fn url(&self) -> &Url {
        match self {
            Self::Keys(url) | Self::Discovery { url, .. } => url,
        }
    }
}

#[derive(Deserialize)]
struct DiscoveryDocument {
    issuer: String,
    jwks_uri: String,
}

impl Server {
    pub(super) fn new(config: &FetchConfig, target: Target) -> Result<Self, Error> {
        Ok(Self {
            client: client(config, target.url())?,
            token_file: config.bearer_token_file.clone(),
            allow_http_loopback: config.allow_http_loopback,
            target,
        })
    }

    pub(super) async fn fetch(&self) -> Result<KeySet, Error> {
        let url = match &self.target {
            Target::Keys(url) => url.clone(),
            Target::Discovery { issuer, url } => self.discover(issuer, url).await?,
        };
        let document = self.get(&url).await?;
        parse(url.to_string(), &document)
    }

    async fn discover(&self, issuer: &str, url: &Url) -> Result<Url, Error> {
        let document = self.get(url).await?;
        let document: DiscoveryDocument =
            serde_json::from_slice(&document).map_err(|source| Error::Discovery {
                url: url.to_string(),
                source,
            })?;
        if document.issuer != issuer {
            return Err(Error::DiscoveryIssuer {
                url: url.to_string(),
                found: Unverified::new(&document.issuer),
                expected: issuer.to_owned(),
            });
        }
        Url::parse(&document.jwks_uri)
            .ok()
            .filter(|keys| is_fetchable(keys, self.allow_http_loopback))
            .ok_or_else(|| Error::DiscoveryUri {
                url: url.to_string(),
                found: Unverified::new(&document.jwks_uri),
            })
    }

    async fn get(&self, url: &Url) -> Result<Vec<u8>, Error> {
        let failed = |source: reqwest::Error| Error::Request {
            url: url.to_string(),
            source: source.without_url(),
        };
        let mut request = self
            .client
            .get(url.clone())
            .header(ACCEPT, "application/json, application/jwk-set+json");
        // A discovery document may name another host for the keys; the token is not for it.
        if let Some(path) = &self.token_file
            && url.origin() == self.target.url().origin()
        {
            request = request.header(AUTHORIZATION, bearer(path).await?);
        }
        let mut response = request.send().await.map_err(failed)?;
        if response.status() != StatusCode::OK {
            return Err(Error::Status {
                url: url.to_string(),
                status: response.status(),
            });
        }
        body(&mut response, url).await
    }
}

async fn body(response: &mut Response, url: &Url) -> Result<Vec<u8>, Error> {
    let mut body = Vec::new();
    loop {
        let chunk = response.chunk().await.map_err(|source| Error::Request {
            url: url.to_string(),
            source: source.without_url(),
        })?;
        let Some(chunk) = chunk else {
            return Ok(body);
        };
        if body.len() + chunk.len() > MAX_DOCUMENT_BYTES {
            let from = url.to_string();
            return Err(Error::TooLarge { from });
        }
        body.extend_from_slice(&chunk);
    }
}

pub(super) fn discovery_url(issuer: &Url) -> Url {
    let mut url = issuer.clone();
    let path = format!("{}{DISCOVERY_PATH}", issuer.path().trim_end_matches('/'));
    url.set_path(&path);
    url
}

fn client(config: &FetchConfig, target: &Url) -> Result<Client, Error> {
    let same_origin = Policy::custom(|attempt| {
        let first = attempt.previous().first().map(Url::origin);
        if first != Some(attempt.url().origin()) {
            return attempt.error("redirected to another host");
        }
        if attempt.previous().len() > MAX_REDIRECTS {
            return attempt.error("redirected too often");
        }
        attempt.follow()
    });
    let mut builder = Client::builder()
        .https_only(!config.allow_http_loopback)
        .no_proxy()
        .referer(false)
        .redirect(same_origin)
        .connect_timeout(CONNECT_DEADLINE)
        .timeout(REQUEST_DEADLINE);
    if let Some(path) = &config.ca_file {
        builder = builder.tls_certs_only(ca_certificates(path)?);
    } else if target.scheme() == "http" {
        // Nothing is verified over http; spares reading the system's certificates.
        builder = builder.tls_certs_only([]);
    }
    builder.build().map_err(Error::Client)
}

fn ca_certificates(path: &Path) -> Result<Vec<Certificate>, Error> {
    let pem = std::fs::read(path).map_err(|source| Error::Read {
        path: path.to_owned(),
        source,
    })?;
    let unusable = |source| Error::CaFile {
        path: path.to_owned(),
        source,
    };
    let certificates = Certificate::from_pem_bundle(&pem).map_err(|source| unusable(Some(source)))?;
    if certificates.is_empty() {
        return Err(unusable(None));
    }
    Ok(certificates)
}

async fn bearer(path: &Path) -> Result<HeaderValue, Error> {
    let unusable = || Error::TokenFile {
        path: path.to_owned(),
    };
    let token = String::from_utf8(read(path).await?).map_err(|_| unusable())?;
    let token = token.trim();
    if token.is_empty() {
        return Err(unusable());
    }
    let mut value = HeaderValue::from_str(&format!("Bearer {token}")).map_err(|_| unusable())?;
    value.set_sensitive(true);
    Ok(value)
}
