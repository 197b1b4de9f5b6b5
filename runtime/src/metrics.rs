//! The registry of a process's metrics, as Prometheus text.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use parking_lot::Mutex;
use prometheus_client::{
    encoding::{EncodeMetric, MetricEncoder},
    metrics::MetricType,
    registry::Registry,
};

/// A shared registry. Components register once, at start.
#[derive(Clone, Default)]
pub struct Metrics(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    registry: Registry,
    sources: Vec<Source>,
}

/// Prometheus text made elsewhere, commonly in the gate. Its `# EOF` line is left out.
type Source = Arc<dyn Fn() -> String + Send + Sync>;

/// The content type of [`Metrics::encode`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

impl Metrics {
    /// An empty registry.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets a component register its metrics.
    pub fn register<T>(&self, with: impl FnOnce(&mut Registry) -> T) -> T {
        with(&mut self.0.lock().registry)
    }

    /// Adds text that is asked for at each scrape. Names must not collide with the registry's.
    pub fn add_source(&self, source: impl Fn() -> String + Send + Sync + 'static) {
        self.0.lock().sources.push(Arc::new(source));
    }

    /// All metrics, ending in `# EOF`.
    ///
    /// # Errors
    /// When a metric cannot be printed.
    pub fn encode(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        let sources = {
            let inner = self.0.lock();
            prometheus_client::encoding::text::encode_registry(&mut text, &inner.registry)?;
            inner.sources.clone()
        };
        for source in sources {
            for line in source().lines().filter(|line| *line != "# EOF") {
                text.push_str(line);
                text.push('\n');
            }
        }
        prometheus_client::encoding::text::encode_eof(&mut text)?;
        Ok(text)
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}

/// A count that is printed under its own name, without the `_total` that OpenMetrics adds.
///
/// Istio's counters carry no suffix, and dashboards name them so. Clones share the count.
#[derive(Clone, Debug, Default)]
pub struct PlainCounter(Arc<AtomicU64>);

impl PlainCounter {
    /// Adds one.
    pub fn inc(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// The count.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl EncodeMetric for PlainCounter {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), fmt::Error> {
        encoder.encode_gauge(&i64::try_from(self.get()).unwrap_or(i64::MAX))
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Unknown
    }
}

impl prometheus_client::metrics::TypedMetric for PlainCounter {
    const TYPE: MetricType = MetricType::Unknown;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_plain_counters_and_other_sources_before_the_end() {
        let metrics = Metrics::new();
        let count = PlainCounter::default();
        metrics.register(|registry| registry.register("citadel_server_csr_count", "CSRs", count.clone()));
        metrics.add_source(|| "other 1\n# EOF\n".to_owned());
        count.inc();
        let text = metrics.encode().unwrap();
        assert!(text.contains("\ncitadel_server_csr_count 1\n"), "{text}");
        assert!(text.ends_with("other 1\n# EOF\n"), "{text}");
    }
}
