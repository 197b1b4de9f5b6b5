//! Whether signing works: a look at the gate every two seconds, more often while it does not, most often
//! when it has just stopped or just begun to be there, and at once when it comes or goes.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use prometheus_client::metrics::counter::Counter;
use sealwright_gate::client::{ConnectionState, GateClient};
use sealwright_gate::issuers::Issuer;
use sealwright_identity::{SharedClock, Timestamp};
use sealwright_proto::gate::Status;
use sealwright_runtime::Chain;
use sealwright_runtime::readiness::{Condition, Readiness};
use tokio::time::Instant;
use tracing::warn;

use crate::catalog::SharedCatalog;

/// The least time between two looks at a gate that works, and at one that does not.
const LOOK: Duration = Duration::from_secs(2);
const LOOK_WHILE_AWAY: Duration = Duration::from_millis(250);
/// The same for one that may be opening its token in this moment, and for how long it may.
const LOOK_AT_FIRST: Duration = Duration::from_millis(10);
const AT_FIRST: Duration = Duration::from_secs(2);
const ANSWER: Duration = Duration::from_secs(2);
/// An issuer with less than this part of its life left is warned about.
const WARN_DIVISOR: u32 = 5;

/// Tells readiness and metrics what the gate says.
#[derive(Debug)]
pub(super) struct Monitor {
    gate: GateClient,
    catalog: SharedCatalog,
    gate_condition: Condition,
    issuer_condition: Condition,
    clock: SharedClock,
    page: Arc<RwLock<String>>,
    connections: Counter,
    warned: BTreeSet<(Arc<str>, Timestamp)>,
}

impl Monitor {
    pub(super) fn new(
        gate: GateClient,
        catalog: SharedCatalog,
        readiness: &Readiness,
        clock: SharedClock,
        metrics: &sealwright_runtime::metrics::Metrics,
    ) -> Self {
        let page: Arc<RwLock<String>> = Arc::default();
        let shown = Arc::clone(&page);
        metrics.add_source(move || shown.read().clone());
        let connections = Counter::default();
        metrics.register(|registry| {
            registry.register(
                "sealwright_gate_connections",
                "Connections made to a gate; each after the first followed the end of one",
                connections.clone(),
            );
        });
        Self {
            gate,
            catalog,
            gate_condition: readiness.condition("gate", "it has not answered yet"),
            issuer_condition: readiness.condition("issuers", "they have not been looked at yet"),
            clock,
            page,
            connections,
            warned: BTreeSet::new(),
        }
    }

    /// Runs until the task is dropped.
    pub(super) async fn run(mut self) {
        let mut connection = self.gate.state();
        let mut away = Instant::now();
        loop {
            if let ConnectionState::Connected { generation } = *connection.borrow_and_update() {
                let counted = self.connections.get();
                self.connections.inc_by(generation.saturating_sub(counted));
            }
            let works = self.look().await;
            let now = Instant::now();
            let pause = match works {
                true => LOOK,
                false if now.duration_since(away) < AT_FIRST => LOOK_AT_FIRST,
                false => LOOK_WHILE_AWAY,
            };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                Ok(()) = connection.changed() => away = Instant::now(),
            }
            if works {
                away = now;
            }
        }
    }

    /// Whether the gate can sign.
    async fn look(&mut self) -> bool {
        self.look_at_issuers();
        let against = match self.gate.status(Instant::now() + ANSWER).await {
            Ok(status) => {
                let against = self.against(&status);
                self.gate_condition.notice(status.notices);
                *self.page.write() = status.metrics;
                against
            }
            Err(error) => {
                self.page.write().clear();
                Some(Chain(&error).to_string())
            }
        };
        let works = against.is_none();
        match against {
            None => self.gate_condition.ready(),
            Some(reason) => self.gate_condition.not_ready(reason),
        }
        works
    }

    /// What of the gate's answer speaks against signing.
    fn against(&self, status: &Status) -> Option<String> {
        if !status.ready {
            let reasons = status.reasons.join("; ");
            let silent = reasons.is_empty();
            return Some(if silent {
                "it is not ready".to_owned()
            } else {
                reasons
            });
        }
        let catalog = self.catalog.current();
        let differs = status.issuers.iter().find(|theirs| {
            catalog.issuer(&theirs.name).is_some_and(|ours| {
                !theirs.key_digest.is_empty() && theirs.key_digest != ours.chain.key_digest().to_string()
            })
        })?;
        Some(format!(
            "its key of issuer {} is not the one of the front's chain; restart the gate or correct the chain",
            differs.name
        ))
    }

    fn look_at_issuers(&mut self) {
        let now = self.clock.now();
        let catalog = self.catalog.current();
        let mut ended = Vec::new();
        for issuer in catalog.issuers() {
            let end = issuer.chain.not_after();
            if end <= now {
                ended.push(format!("{} ended at {end}", issuer.name));
            } else if is_near_its_end(issuer, now) && self.warned.insert((Arc::clone(&issuer.name), end)) {
                warn!(
                    issuer = &*issuer.name,
                    not_after = %end,
                    "an issuer has less than a fifth of its life left"
                );
            }
        }
        if ended.is_empty() {
            self.issuer_condition.ready();
        } else {
            self.issuer_condition.not_ready(ended.join("; "));
        }
    }
}

fn is_near_its_end(issuer: &Issuer, now: Timestamp) -> bool {
    let end = issuer.chain.not_after();
    let life = end.saturating_since(issuer.chain.not_before());
    end.saturating_since(now) < life / WARN_DIVISOR
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{DAY, TestPki, clock};

    #[test]
    fn the_last_fifth_of_an_issuers_life_is_near_its_end() {
        let ceiling = sealwright_identity::Ceiling {
            trust_domain: "cluster.local".parse().unwrap(),
            dns: Vec::new(),
            max_lifetime: Duration::from_secs(DAY),
            default_lifetime: Duration::from_secs(DAY),
            key_types: Vec::new(),
            usages: Vec::new(),
            common_name: sealwright_identity::CommonName::None,
        };
        // Valid since an hour: two hours in all.
        let issuer = TestPki::ending_in(Duration::from_secs(3600)).issuer(ceiling);
        let end = issuer.chain.not_after();
        assert!(!is_near_its_end(&issuer, clock().now()));
        for (left, near) in [(1500, false), (1400, true), (0, true)] {
            let then = end.saturating_sub(Duration::from_secs(left));
            assert_eq!(is_near_its_end(&issuer, then), near, "{left}");
        }
    }
}
