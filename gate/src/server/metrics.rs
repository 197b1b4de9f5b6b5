//! What the gate counts, printed into its status for the front to pass on.

use std::future::Future;

use parking_lot::Mutex;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode_registry;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use sealwright_ledger::StatsReading;
use sealwright_statement::policy::CanaryCounts;
use tokio::time::Instant;

/// A step of a request.
#[derive(Clone, Copy, Debug)]
pub(super) enum Stage {
    Check,
    Record,
    Sign,
    Verify,
    Store,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    kind: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StageLabel {
    stage: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CanaryLabel {
    policy: String,
    decisions: &'static str,
}

const KINDS: [&str; 6] = ["issue", "serving", "status", "denial", "query", "origin"];
const OUTCOMES: [&str; 9] = [
    "ok",
    "denied",
    "invalid",
    "unavailable",
    "overloaded",
    "deadline",
    "cancelled",
    "internal",
    "forbidden",
];

/// The gate's own metrics, beside the token's.
#[derive(Debug)]
pub(super) struct Metrics {
    registry: Registry,
    requests: Family<Outcome, Counter>,
    stages: [Histogram; 5],
    pub(super) connections: Gauge,
    pub(super) strangers: Counter,
    canaries: Family<CanaryLabel, Gauge>,
    canary_stops: Counter,
    ledger: LedgerGauges,
    /// Of whoever fills in what is known only when it is asked, and prints it.
    turn: Mutex<()>,
}

#[derive(Debug, Default)]
struct LedgerGauges {
    records: Gauge,
    commits: Gauge,
    bytes: Gauge,
    queue: Gauge,
}

impl Metrics {
    /// Registers everything; the token's metrics come back for the one who opens it.
    pub(super) fn new() -> (Self, sealwright_hsm::Metrics) {
        let mut registry = Registry::default();
        let token = sealwright_hsm::Metrics::register(&mut registry);
        let gate = registry.sub_registry_with_prefix("sealwright_gate");
        let requests = Family::<Outcome, Counter>::default();
        for kind in KINDS {
            for outcome in OUTCOMES {
                requests.get_or_create_owned(&Outcome { kind, outcome });
            }
        }
        gate.register(
            "requests",
            "Requests of the front by kind and outcome",
            requests.clone(),
        );
        let family = Family::<StageLabel, Histogram>::new_with_constructor(|| {
            Histogram::new(exponential_buckets(0.000_01, 2.5, 14))
        });
        let stages = ["check", "record", "sign", "verify", "store"]
            .map(|stage| family.get_or_create(&StageLabel { stage }).clone());
        gate.register("stage_seconds", "Time of each step of a certificate", family);
        let connections = Gauge::default();
        gate.register(
            "open_connections",
            "Connections that are open",
            connections.clone(),
        );
        let strangers = Counter::default();
        gate.register("strangers", "Peers turned away by their user", strangers.clone());
        let canaries = Family::<CanaryLabel, Gauge>::default();
        gate.register(
            "canary_decisions",
            "What bounded canaries of the set in force came to since it took effect",
            canaries.clone(),
        );
        let canary_stops = Counter::default();
        gate.register(
            "canary_stops",
            "Canaries that the bounds of their set stopped since the start",
            canary_stops.clone(),
        );
        let ledger = LedgerGauges::default();
        gate.register(
            "ledger_records",
            "Entries written since the start",
            ledger.records.clone(),
        );
        gate.register("ledger_commits", "Syncs since the start", ledger.commits.clone());
        gate.register(
            "ledger_bytes",
            "Bytes of entries since the start",
            ledger.bytes.clone(),
        );
        gate.register(
            "ledger_queue",
            "Entries that wait for the writer",
            ledger.queue.clone(),
        );
        let metrics = Self {
            registry,
            requests,
            stages,
            connections,
            strangers,
            canaries,
            canary_stops,
            ledger,
            turn: Mutex::new(()),
        };
        (metrics, token)
    }

    pub(super) fn answered(&self, kind: &'static str, outcome: &'static str) {
        self.requests.get_or_create(&Outcome { kind, outcome }).inc();
    }

    pub(super) fn canary_stopped(&self) {
        self.canary_stops.inc();
    }

    fn fill(&self, canaries: &[(String, CanaryCounts)]) {
        self.canaries.clear();
        for (policy, counts) in canaries {
            for (decisions, count) in [
                ("all", counts.decisions),
                ("denied", counts.denied),
                ("aborted", counts.aborted),
            ] {
                let policy = policy.clone();
                let gauge = self
                    .canaries
                    .get_or_create_owned(&CanaryLabel { policy, decisions });
                gauge.set(i64::try_from(count).unwrap_or(i64::MAX));
            }
        }
    }

    /// Times a step, also one that is given up.
    pub(super) async fn time<T>(&self, stage: Stage, step: impl Future<Output = T>) -> T {
        let _timer = self.timer(stage);
        step.await
    }

    /// Times a step until dropped.
    pub(super) fn timer(&self, stage: Stage) -> Timer<'_> {
        let [check, record, sign, verify, store] = &self.stages;
        let histogram = match stage {
            Stage::Check => check,
            Stage::Record => record,
            Stage::Sign => sign,
            Stage::Verify => verify,
            Stage::Store => store,
        };
        Timer {
            histogram,
            start: Instant::now(),
        }
    }

    /// All of it as Prometheus text, without the closing `# EOF`; with what the canaries of the set in force come to, by
    /// policy.
    pub(super) fn encode(
        &self,
        ledger: StatsReading,
        queue: usize,
        canaries: &[(String, CanaryCounts)],
    ) -> String {
        // Else one that is asked at the same time would print what another has just cleared.
        let _turn = self.turn.lock();
        self.fill(canaries);
        let set = |gauge: &Gauge, value: u64| {
            gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        };
        set(&self.ledger.records, ledger.records);
        set(&self.ledger.commits, ledger.commits);
        set(&self.ledger.bytes, ledger.body_bytes);
        set(&self.ledger.queue, u64::try_from(queue).unwrap_or(u64::MAX));
        let mut text = String::new();
        if encode_registry(&mut text, &self.registry).is_err() {
            text.clear();
        }
        text
    }
}

/// Observes the time since it was made when it is dropped.
#[derive(Debug)]
pub(super) struct Timer<'a> {
    histogram: &'a Histogram,
    start: Instant,
}

impl Drop for Timer<'_> {
    fn drop(&mut self) {
        self.histogram.observe(self.start.elapsed().as_secs_f64());
    }
}
