//! The sections of a `token-review` authenticator: which API servers are asked, and how often.

use std::path::PathBuf;
use std::time::Duration;

use sealwright_identity::HumanDuration;
use sealwright_jwt::NodeAccount;
use serde::Deserialize;

use super::check::duration;
use super::{Error, Raw};

const DEADLINE: Duration = Duration::from_secs(5);
const MAX_DEADLINE: Duration = Duration::from_secs(30);
const CACHE_FOR: Duration = Duration::from_secs(30);
const MAX_CACHE_FOR: Duration = Duration::from_secs(600);
const CACHE_ENTRIES: usize = 20_000;
const IN_FLIGHT: usize = 32;
const WAITING: usize = 1024;
/// Longer ids of clusters are not taken from a request, so none are configured.
const MAX_ID_BYTES: usize = 253;
/// Where Kubernetes puts a pod's own token; the folder has the CA beside it.
const IN_CLUSTER_TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";

/// A `token-review` authenticator.
#[derive(Clone, Debug)]
pub struct TokenReviewConfig {
    /// A token must be for one of these, and the API server must say so; at least one.
    pub audiences: Vec<String>,
    /// The clusters whose API servers are asked; at least one.
    pub clusters: Vec<ClusterConfig>,
    /// How far ahead a token's clock may be (`nbf`, `iat`); 60 s by default.
    pub clock_skew: Duration,
    /// For one review, waiting for its turn included; 5 s by default.
    pub deadline: Duration,
    /// A good answer is used at most this long, and never past the token's `exp`; 30 s by
    /// default. It adds to the 10 s for which an API server itself remembers.
    pub cache_for: Duration,
    /// Answers that are kept for each cluster; 0 keeps none.
    pub cache_entries: usize,
    /// Reviews at one API server at a time.
    pub max_in_flight: usize,
    /// Reviews that run or wait for their turn, for each cluster; one more is refused.
    pub max_waiting: usize,
}

/// One cluster, known by the `clusterid` that its agents send.
#[derive(Clone, Debug)]
pub struct ClusterConfig {
    /// Its id. Everyone it vouches for has it as the attribute `cluster`.
    pub id: String,
    /// Other ids that mean it.
    pub aliases: Vec<String>,
    /// Whether it is meant by requests that name no cluster.
    pub primary: bool,
    /// How its API server is reached.
    pub access: ClusterAccess,
    /// Allows an API server at `http://` and a loopback address, for tests.
    pub allow_http_loopback: bool,
    /// The `iss` of its tokens. Tokens of another are refused without asking.
    pub issuer: Option<String>,
    /// Whether tokens are refuted by the cluster's published keys before its API server is
    /// asked. Where the keys cannot be had, it is asked about every token.
    pub check_signatures: bool,
    /// Accounts of node proxies: each may have certificates for the pods of its own node.
    pub trusted_node_accounts: Vec<NodeAccount>,
}

/// How an API server is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClusterAccess {
    /// By the current context of a kubeconfig file, read again when it changes.
    Kubeconfig(PathBuf),
    /// From inside the cluster, with the token of the own pod, which is at this path.
    InCluster(PathBuf),
}

impl ClusterAccess {
    pub(super) fn path_mut(&mut self) -> &mut PathBuf {
        match self {
            Self::Kubeconfig(path) | Self::InCluster(path) => path,
        }
    }
}

/// A `[[authenticators.clusters]]` section as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawCluster {
    id: String,
    #[serde(default)]
    aliases: Vec<String>,
    #[serde(default)]
    primary: bool,
    kubeconfig: Option<PathBuf>,
    #[serde(default)]
    in_cluster: bool,
    issuer: Option<String>,
    check_signatures: Option<bool>,
    #[serde(default)]
    trusted_node_accounts: Vec<NodeAccount>,
}

impl Raw {
    pub(super) fn token_review(&mut self) -> Result<TokenReviewConfig, Error> {
        if self.attributes.contains_key("cluster") {
            let problem = "the cluster that vouched is put there: remove it";
            return Err(self.value("attributes.cluster", problem));
        }
        let audiences = self.audiences()?;
        let clusters = self.clusters()?;
        let at_most = |key, given: Option<HumanDuration>, default, limit: Duration| {
            let value = duration(given, default);
            if value <= limit {
                return Ok(value);
            }
            Err(self.value(key, &format!("above {} s: lower it", limit.as_secs())))
        };
        let at_least_one = |key, given: Option<usize>, default| match given.unwrap_or(default) {
            0 => Err(self.value(key, "0 lets nobody in: set it to at least 1")),
            count => Ok(count),
        };
        let cache_entries = self.cache_entries(CACHE_ENTRIES)?;
        Ok(TokenReviewConfig {
            clock_skew: self.clock_skew()?,
            deadline: at_most("deadline", self.deadline, DEADLINE, MAX_DEADLINE)?,
            cache_for: at_most("cache_for", self.cache_for, CACHE_FOR, MAX_CACHE_FOR)?,
            cache_entries,
            max_in_flight: at_least_one("max_in_flight", self.max_in_flight, IN_FLIGHT)?,
            max_waiting: at_least_one("max_waiting", self.max_waiting, WAITING)?,
            audiences,
            clusters,
        })
    }

    fn clusters(&mut self) -> Result<Vec<ClusterConfig>, Error> {
        let fix =
            "add an [[authenticators.clusters]] section with `id` and `kubeconfig` or `in_cluster = true`";
        let raw = self.clusters.take().filter(|all| !all.is_empty());
        let raw = raw.ok_or_else(|| self.missing("clusters", fix))?;
        let mut known: Vec<String> = Vec::new();
        let mut clusters = Vec::with_capacity(raw.len());
        for cluster in raw {
            for id in std::iter::once(&cluster.id).chain(&cluster.aliases) {
                let usable =
                    !id.is_empty() && id.len() <= MAX_ID_BYTES && id.bytes().all(|b| b.is_ascii_graphic());
                if !usable {
                    let problem =
                        format!("{id:?} is not usable: take 1 to {MAX_ID_BYTES} visible ASCII characters");
                    return Err(self.value("clusters.id", &problem));
                }
                if known.contains(id) {
                    let problem = format!("{id:?} is there twice, as id or alias: remove one");
                    return Err(self.value("clusters.id", &problem));
                }
                known.push(id.clone());
            }
            clusters.push(self.cluster(cluster)?);
        }
        if clusters.iter().filter(|cluster| cluster.primary).count() > 1 {
            let problem = "two clusters are primary: keep one, for requests that name none";
            return Err(self.value("clusters.primary", problem));
        }
        Ok(clusters)
    }

    fn cluster(&self, raw: RawCluster) -> Result<ClusterConfig, Error> {
        let access = match (raw.kubeconfig, raw.in_cluster) {
            (Some(path), false) => ClusterAccess::Kubeconfig(path),
            (None, true) => ClusterAccess::InCluster(IN_CLUSTER_TOKEN.into()),
            _ => {
                let problem = format!(
                    "cluster {:?} needs one of kubeconfig and in_cluster = true",
                    raw.id
                );
                return Err(self.value("clusters.kubeconfig", &problem));
            }
        };
        Ok(ClusterConfig {
            id: raw.id,
            aliases: raw.aliases,
            primary: raw.primary,
            access,
            allow_http_loopback: self.allow_http_loopback.unwrap_or(false),
            issuer: raw.issuer,
            check_signatures: raw.check_signatures.unwrap_or(true),
            trusted_node_accounts: raw.trusted_node_accounts,
        })
    }
}
