//! Counters of what the token does and what had to be repaired.

use std::time::Duration;

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::Registry,
};

/// The metrics of one token; clones count into the same numbers.
#[derive(Clone, Debug)]
pub struct Metrics {
    call_errors: Family<CallLabels, Counter>,
    repairs: Family<ActionLabels, Counter>,
    requests: Family<OutcomeLabels, Counter>,
    pub(crate) replaced: Counter,
    pub(crate) logins: Counter,
    pub(crate) expired: Counter,
    pub(crate) queue_depth: Gauge,
    pub(crate) sessions: Gauge,
    pub(crate) busy: Gauge,
    queue_wait: Histogram,
    sign: Histogram,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct CallLabels {
    function: String,
    rv: &'static str,
    class: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct ActionLabels {
    action: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct OutcomeLabels {
    outcome: &'static str,
}

impl Default for Metrics {
    fn default() -> Self {
        let metrics = Self {
            call_errors: Family::default(),
            repairs: Family::default(),
            requests: Family::default(),
            replaced: Counter::default(),
            logins: Counter::default(),
            expired: Counter::default(),
            queue_depth: Gauge::default(),
            sessions: Gauge::default(),
            busy: Gauge::default(),
            queue_wait: Histogram::new(exponential_buckets(0.000_05, 2.5, 14)),
            sign: Histogram::new(exponential_buckets(0.000_05, 2.5, 14)),
        };
        for action in Repair::ALL {
            metrics.repairs.get_or_create_owned(&action.labels());
        }
        for outcome in crate::pool::SignError::CODES.into_iter().chain(["ok"]) {
            metrics.requests.get_or_create_owned(&OutcomeLabels { outcome });
        }
        metrics
    }
}

impl Metrics {
    /// Makes the metrics and registers them under `sealwright_hsm_…`.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        let registry = registry.sub_registry_with_prefix("sealwright_hsm");
        registry.register(
            "call_errors",
            "PKCS#11 calls that did not return CKR_OK",
            metrics.call_errors.clone(),
        );
        registry.register(
            "repairs",
            "Sessions, logins and key handles that were repaired in place",
            metrics.repairs.clone(),
        );
        registry.register(
            "signatures",
            "Signature requests by outcome",
            metrics.requests.clone(),
        );
        registry.register(
            "workers_replaced",
            "Worker threads given up as hung and replaced",
            metrics.replaced.clone(),
        );
        registry.register(
            "expired",
            "Signature requests dropped unsigned, as nobody waited for them any more",
            metrics.expired.clone(),
        );
        registry.register("logins", "Calls of C_Login", metrics.logins.clone());
        registry.register(
            "queue_depth",
            "Signature requests that wait for a worker",
            metrics.queue_depth.clone(),
        );
        registry.register(
            "sessions",
            "Sessions that workers hold open",
            metrics.sessions.clone(),
        );
        registry.register("busy_workers", "Workers inside a signature", metrics.busy.clone());
        registry.register(
            "queue_wait_seconds",
            "Time from a request to its worker",
            metrics.queue_wait.clone(),
        );
        registry.register(
            "sign_seconds",
            "Time in the token for one signature, repairs included",
            metrics.sign.clone(),
        );
        metrics
    }

    pub(crate) fn call_failed(&self, function: &str, rv: &'static str, class: &'static str) {
        let labels = CallLabels {
            function: function.to_owned(),
            rv,
            class,
        };
        self.call_errors.get_or_create_owned(&labels).inc();
    }

    pub(crate) fn repaired(&self, repair: Repair) {
        self.repairs.get_or_create_owned(&repair.labels()).inc();
    }

    pub(crate) fn answered(&self, outcome: &'static str) {
        self.requests
            .get_or_create_owned(&OutcomeLabels { outcome })
            .inc();
    }

    pub(crate) fn waited(&self, time: Duration) {
        self.queue_wait.observe(time.as_secs_f64());
    }

    pub(crate) fn signed(&self, time: Duration) {
        self.sign.observe(time.as_secs_f64());
    }

    /// How often a repair was made, for tests and for `check`.
    pub fn repairs(&self, repair: Repair) -> u64 {
        self.repairs.get_or_create_owned(&repair.labels()).get()
    }

    /// How many logins were tried.
    pub fn logins(&self) -> u64 {
        self.logins.get()
    }

    /// How many workers were given up as hung and replaced.
    pub fn workers_replaced(&self) -> u64 {
        self.replaced.get()
    }

    /// How many requests were dropped unsigned when their turn came.
    pub fn expired(&self) -> u64 {
        self.expired.get()
    }

    /// How many requests ended so: `ok`, or a code of `SignError`.
    pub fn requests(&self, outcome: &'static str) -> u64 {
        self.requests
            .get_or_create_owned(&OutcomeLabels { outcome })
            .get()
    }
}

/// A repair in place.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Repair {
    /// A worker's session was closed and another opened.
    Session,
    /// The login was made anew.
    Login,
    /// A key was found again after its handle went bad.
    Key,
}

impl Repair {
    const ALL: [Self; 3] = [Self::Session, Self::Login, Self::Key];

    fn labels(self) -> ActionLabels {
        ActionLabels {
            action: match self {
                Self::Session => "session",
                Self::Login => "login",
                Self::Key => "key",
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_outcome_and_repair_is_there_from_the_start() {
        let mut registry = Registry::default();
        let metrics = Metrics::register(&mut registry);
        metrics.call_failed("C_Sign", "CKR_DEVICE_ERROR", "device");
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        for line in [
            "sealwright_hsm_signatures_total{outcome=\"overloaded\"} 0",
            "sealwright_hsm_repairs_total{action=\"login\"} 0",
            "sealwright_hsm_queue_depth 0",
            "sealwright_hsm_call_errors_total{function=\"C_Sign\",rv=\"CKR_DEVICE_ERROR\",class=\"device\"} 1",
            "sealwright_hsm_sign_seconds_count 0",
        ] {
            assert!(text.contains(line), "{line} in\n{text}");
        }
    }
}
