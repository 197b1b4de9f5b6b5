//! What a measurement says: JSON for programs, a table for people.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{
    burst::BurstFigures, latency::Latency, load::Measured, machine::Machine, metrics::DecisionTime, raw::Raw,
};
use crate::{
    args::BenchArgs,
    failure::Failure,
    output::{self, Output},
};

#[derive(Debug, Default, Serialize)]
pub(super) struct Report {
    pub(super) machine_before: Machine,
    pub(super) machine_after: Machine,
    in_flight: usize,
    connections: usize,
    idle_connections: usize,
    identities: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    stream: Option<usize>,
    seconds: f64,
    pub(super) issued: u64,
    pub(super) certificates_per_second: f64,
    latency_ms: Latency,
    /// By gRPC code.
    refusals: BTreeMap<&'static str, u64>,
    /// CPU microseconds for each certificate, by process; of an own signer only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) cpu_us_per_certificate: Option<BTreeMap<&'static str, f64>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) decision_us: Option<DecisionTime>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) half_load: Option<HalfLoad>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) burst: Option<BurstFigures>,
    /// From the start of the supervisor to signing, of a home that was there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) ready_ms: Option<f64>,
    /// Resident megabytes by process, before the load.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) memory_mb: Option<BTreeMap<&'static str, f64>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) memory_after_mb: Option<BTreeMap<&'static str, f64>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) algorithm: Option<&'static str>,
    /// Signatures a second of the token alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) raw: Option<Raw>,
    /// Certificates for each signature that the token could have made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) ratio: Option<f64>,
}

/// At half of the measured rate.
#[derive(Debug, Serialize)]
pub(super) struct HalfLoad {
    certificates_per_second: f64,
    latency_ms: Latency,
    p99_over_p50: f64,
    refusals: BTreeMap<&'static str, u64>,
}

impl HalfLoad {
    pub(super) fn new(rate: f64, measured: &Measured) -> Self {
        let latency_ms = measured.latencies.summary();
        Self {
            certificates_per_second: rate,
            p99_over_p50: latency_ms.p99 / latency_ms.p50.max(f64::MIN_POSITIVE),
            latency_ms,
            refusals: measured.refusals.clone(),
        }
    }
}

impl Report {
    pub(super) fn new(args: &BenchArgs, measured: &Measured) -> Self {
        Self {
            in_flight: args.in_flight,
            connections: args.connections,
            idle_connections: args.idle_connections,
            identities: args.identities,
            stream: args.stream,
            seconds: measured.elapsed.as_secs_f64(),
            issued: measured.issued(),
            certificates_per_second: measured.per_second(),
            latency_ms: measured.latencies.summary(),
            refusals: measured.refusals.clone(),
            ..Self::default()
        }
    }

    pub(super) fn print(&self, output: Output) -> Result<(), Failure> {
        match output {
            Output::Json => output::json(self),
            Output::Table => output::table(&[], self.rows()),
        }
    }

    fn rows(&self) -> Vec<Vec<String>> {
        let mut rows = Vec::new();
        let mut row = |name: &str, value: String| rows.push(vec![name.to_owned(), value]);
        row("machine", self.machine_before.text());
        row("afterwards", self.machine_after.text());
        match &self.burst {
            Some(burst) => burst.rows(&mut row),
            None => {
                let each = self
                    .stream
                    .map_or_else(String::new, |each| format!(" calls of {each}"));
                let load = format!("{}{each} over {} connections", self.in_flight, self.connections);
                row("in flight", load);
            }
        }
        row("issued", format!("{} in {:.1} s", self.issued, self.seconds));
        row("certificates/s", format!("{:.0}", self.certificates_per_second));
        row("latency (ms)", self.latency_ms.text());
        for (code, count) in &self.refusals {
            row(code, count.to_string());
        }
        if let Some(half) = &self.half_load {
            let Latency { p50, p99, .. } = half.latency_ms;
            let text = format!("p50 {p50:.1}  p99 {p99:.1}  p99/p50 {:.1}", half.p99_over_p50);
            row(&format!("at {:.0}/s (ms)", half.certificates_per_second), text);
        }
        for (process, spent) in self.cpu_us_per_certificate.iter().flatten() {
            row(
                &format!("CPU of the {process}"),
                format!("{spent:.0} µs a certificate"),
            );
        }
        if let Some(decision) = &self.decision_us {
            let text = format!("p50 {:.0} µs  mean {:.0} µs", decision.p50, decision.mean);
            row("a policy decision", text);
        }
        if let Some(ready) = self.ready_ms {
            row("start to ready", format!("{ready:.0} ms"));
        }
        for (name, memory) in [
            ("resident, idle", &self.memory_mb),
            ("resident, afterwards", &self.memory_after_mb),
        ] {
            if let Some(memory) = memory {
                let each = memory.iter().map(|(process, mb)| format!("{process} {mb:.0} MB"));
                row(name, each.collect::<Vec<_>>().join("  "));
            }
        }
        if let Some(raw) = &self.raw {
            let text = format!(
                "{:.0} signatures/s on {} threads",
                raw.signatures_per_second, raw.threads
            );
            row("the token alone", text);
        }
        if let Some(ratio) = self.ratio {
            row("ratio", format!("{ratio:.2}"));
        }
        rows
    }
}
