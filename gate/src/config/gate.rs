//! `[gate]`: its home, its token, who may connect, and what bounds it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use sealwright_identity::{DnsName, HumanDuration};
use serde::{Deserialize, Serialize};

use super::{CallerKind, ConfigError, ConfinementConfig, VerifyCallerConfig, resolve};

/// `[gate]`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GateConfig {
    /// Lock file, ledger and PIN marker live here; one gate at a time.
    pub home: PathBuf,
    /// Hardened mode: the named socket the gate listens on, in a folder of mode 0750.
    #[serde(default)]
    pub socket: Option<PathBuf>,
    /// Who may connect to `socket`.
    #[serde(default)]
    pub peers: Vec<PeerConfig>,
    /// What keeps the front from the gate's files.
    #[serde(default)]
    pub boundary: Boundary,
    /// The user the front runs as when `boundary` uses users.
    #[serde(default)]
    pub front_user: Option<String>,
    /// With less than this free on the ledger's file system nothing is signed.
    #[serde(default = "default_disk_reserve")]
    pub disk_reserve_bytes: u64,
    /// Entries written in a second, all kinds together.
    #[serde(default = "default_records")]
    pub max_records_per_second: u32,
    /// Requests that one connection may have in work.
    #[serde(default = "default_in_flight")]
    pub max_in_flight: usize,
    /// The longest a request may take, whatever it asks for.
    #[serde(default = "default_request_timeout")]
    pub request_timeout: HumanDuration,
    /// `[gate.token]`
    pub token: TokenSection,
    /// The whole environment of the gate's process, verbatim. Everyone who reads the file reads this.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// More of it, for secrets: a file of `NAME=value` lines that the gate alone reads.
    #[serde(default)]
    pub env_file: Option<PathBuf>,
    /// `[gate.confinement]`
    #[serde(default)]
    pub confinement: ConfinementConfig,
    /// `[gate.serving]`: the front's own certificate; without it the front has none.
    #[serde(default)]
    pub serving: Option<ServingConfig>,
    /// `[[gate.verify_caller]]`: with any, no caller is taken on the front's word alone.
    #[serde(default)]
    pub verify_caller: Vec<VerifyCallerConfig>,
}

/// A user that may connect to the named socket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PeerConfig {
    /// The user id of the connecting process.
    pub uid: u32,
    /// What it may ask for.
    pub roles: Vec<Role>,
}

/// What a connection may ask for. Status is free to every one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Certificates, serving certificates, records of denials.
    Issue,
    /// Entries of the ledger.
    Read,
}

/// What keeps a front that was taken over from the PIN, the token and the ledger.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Boundary {
    /// Two users as root, Landlock otherwise, and a warning where neither works.
    #[default]
    Auto,
    /// Two users, or no start.
    Users,
    /// Landlock, or no start.
    Landlock,
    /// None: for development.
    None,
}

/// `[gate.token]`: the PKCS#11 module and the token in it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenSection {
    /// The module's shared library; a bare file name is left to the dynamic linker.
    pub module: PathBuf,
    /// The token as a PKCS#11 URI. One of `uri`, `label`, `serial`.
    #[serde(default)]
    pub uri: Option<String>,
    /// The token by its label.
    #[serde(default)]
    pub label: Option<String>,
    /// The token by its serial number.
    #[serde(default)]
    pub serial: Option<String>,
    /// The PIN's file. One of `pin_file`, `pin_fd`, `pin_prompt`.
    #[serde(default)]
    pub pin_file: Option<PathBuf>,
    /// An inherited descriptor to read the PIN from, once.
    #[serde(default)]
    pub pin_fd: Option<u32>,
    /// Ask on the terminal, once.
    #[serde(default)]
    pub pin_prompt: bool,
    /// The key that health probes sign with, as a PKCS#11 URI; never an issuer's.
    #[serde(default)]
    pub health_key: Option<String>,
    /// Sessions, each with a thread of its own.
    #[serde(default = "default_sessions")]
    pub sessions: usize,
    /// Signatures that may wait for a session.
    #[serde(default = "default_queue")]
    pub queue: usize,
    /// The longest a signature may take.
    #[serde(default = "default_deadline")]
    pub deadline: HumanDuration,
}

/// How the configuration names the token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenSource<'a> {
    /// A PKCS#11 URI.
    Uri(&'a str),
    /// A label.
    Label(&'a str),
    /// A serial number.
    Serial(&'a str),
}

/// `[gate.serving]`: the names and lifetime of the front's serving certificate.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServingConfig {
    /// The issuer that signs it.
    pub issuer: String,
    /// Its DNS names.
    #[serde(default)]
    pub dns: Vec<DnsName>,
    /// Its addresses.
    #[serde(default)]
    pub ips: Vec<IpAddr>,
    /// How long it lives.
    #[serde(default = "default_serving_lifetime")]
    pub lifetime: HumanDuration,
}

impl GateConfig {
    /// Whether the front hands the tokens of this authenticator over.
    #[must_use]
    pub fn wants_token_of(&self, authenticator: &str) -> bool {
        self.verify_caller
            .iter()
            .any(|entry| entry.kind == CallerKind::Jwt && entry.authenticator == authenticator)
    }

    pub(super) fn resolve(&mut self, base: &Path) {
        resolve(base, &mut self.home);
        if let Some(socket) = &mut self.socket {
            resolve(base, socket);
        }
        for file in [&mut self.token.pin_file, &mut self.env_file]
            .into_iter()
            .flatten()
        {
            resolve(base, file);
        }
        for entry in &mut self.verify_caller {
            entry.resolve(base);
        }
        self.confinement.resolve(base);
        if self.token.module.components().count() > 1 {
            resolve(base, &mut self.token.module);
        }
    }

    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        self.token.validate()?;
        if self.max_records_per_second == 0 {
            return Err(ConfigError::new(
                "gate.max_records_per_second",
                "with none nothing can be signed",
                "write at least 1",
            ));
        }
        if self.max_in_flight == 0 {
            return Err(ConfigError::new(
                "gate.max_in_flight",
                "with none nothing can be signed",
                "write at least 1",
            ));
        }
        self.validate_peers()?;
        if self.boundary == Boundary::Users && self.front_user.is_none() && self.socket.is_none() {
            return Err(ConfigError::new(
                "gate.front_user",
                "boundary \"users\" needs the front's user",
                "name a user that owns none of the gate's files",
            ));
        }
        match &self.serving {
            Some(serving) if serving.dns.is_empty() && serving.ips.is_empty() => Err(ConfigError::new(
                "gate.serving",
                "the certificate would have no name",
                "list dns or ips that clients connect to",
            )),
            _ => Ok(()),
        }
    }

    fn validate_peers(&self) -> Result<(), ConfigError> {
        if self.socket.is_some() == self.peers.is_empty() {
            return Err(ConfigError::new(
                "gate.peers",
                "socket and peers belong together",
                "write peers = [{ uid = UID, roles = [\"issue\", \"read\"] }] with socket, or neither",
            ));
        }
        let mut seen = BTreeSet::new();
        for peer in &self.peers {
            if !seen.insert(peer.uid) {
                return Err(ConfigError::new(
                    "gate.peers",
                    format!("uid {} is listed twice", peer.uid),
                    "list each user once with all its roles",
                ));
            }
        }
        Ok(())
    }
}

impl TokenSection {
    /// How the token is named; an error when it is not named exactly once.
    pub fn source(&self) -> Result<TokenSource<'_>, ConfigError> {
        match (&self.uri, &self.label, &self.serial) {
            (Some(uri), None, None) => Ok(TokenSource::Uri(uri)),
            (None, Some(label), None) => Ok(TokenSource::Label(label)),
            (None, None, Some(serial)) => Ok(TokenSource::Serial(serial)),
            _ => Err(ConfigError::new(
                "gate.token",
                "the token must be named in exactly one way",
                "write one of uri, label, serial",
            )),
        }
    }

    fn validate(&self) -> Result<(), ConfigError> {
        self.source()?;
        let sources = [self.pin_file.is_some(), self.pin_fd.is_some(), self.pin_prompt];
        if sources.iter().filter(|set| **set).count() != 1 {
            return Err(ConfigError::new(
                "gate.token",
                "the PIN must come from exactly one place",
                "write one of pin_file, pin_fd, pin_prompt = true",
            ));
        }
        for (key, value) in [("sessions", self.sessions), ("queue", self.queue)] {
            if value == 0 {
                return Err(ConfigError::new(
                    format!("gate.token.{key}"),
                    "with none nothing can be signed",
                    "leave it out, or write at least 1",
                ));
            }
        }
        Ok(())
    }
}

const fn default_disk_reserve() -> u64 {
    64 << 20
}

const fn default_records() -> u32 {
    20_000
}

const fn default_in_flight() -> usize {
    1024
}

const fn default_request_timeout() -> HumanDuration {
    HumanDuration::from_secs(30)
}

/// A software token gains nothing from more threads than cores, and loses latency.
fn default_sessions() -> usize {
    std::thread::available_parallelism().map_or(2, usize::from)
}

const fn default_queue() -> usize {
    256
}

const fn default_deadline() -> HumanDuration {
    HumanDuration::from_secs(5)
}

const fn default_serving_lifetime() -> HumanDuration {
    HumanDuration::from_secs(24 * 3600)
}
