//! The status document as Prometheus metrics: one of its renderings, so metrics and `status` cannot disagree.
//!
//! A metric is one entry of a list in `metrics/`: name, unit, type, help, and the samples that a document
//! has of it. The text is prometheus-client's, in the OpenMetrics format where the client asks for it and
//! in Prometheus' own otherwise. Nothing is read here: `process` reads this process' own figures.

mod host;
mod process;
mod routers;
mod services;

use std::fmt;
use std::sync::Arc;

use evenkeel_schemas::status::Status;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeLabelSet, LabelSetEncoder, MetricEncoder, prometheus_text, text,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::exemplar::Exemplar;
use prometheus_client::registry::{Registry, Unit};

pub(crate) use process::ProcessFigures;

/// Prefix of all names but those that every exporter calls `process_…`.
const PREFIX: &str = "evenkeel";

/// Exposition format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// OpenMetrics 1.0 text.
    OpenMetrics,
    /// Prometheus' own text, version 0.0.4.
    Prometheus,
}

impl Format {
    /// The format for a client with this `Accept` header.
    pub(crate) fn of(accept: Option<&str>) -> Self {
        let open = accept.is_some_and(|accept| accept.contains("application/openmetrics-text"));
        if open { Self::OpenMetrics } else { Self::Prometheus }
    }

    /// The `Content-Type` header of the answer.
    pub(crate) const fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// Amount of detail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Detail {
    /// Hosts, routers, services and their sums.
    Services,
    /// Each destination as well.
    Destinations,
}

/// A label of a sample: name and value.
type Label<'a> = (&'static str, &'a str);

/// Value of a sample.
#[derive(Debug, Clone, Copy)]
enum Value {
    Whole(u64),
    Real(f64),
}

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Self::Whole(number)
    }
}

impl From<u32> for Value {
    fn from(number: u32) -> Self {
        Self::Whole(number.into())
    }
}

impl From<usize> for Value {
    fn from(number: usize) -> Self {
        Self::Whole(u64::try_from(number).unwrap_or(u64::MAX))
    }
}

impl From<bool> for Value {
    fn from(yes: bool) -> Self {
        Self::Whole(yes.into())
    }
}

impl From<f64> for Value {
    fn from(number: f64) -> Self {
        Self::Real(number)
    }
}

/// Type of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SampleKind {
    /// A number that only grows while the daemon runs; the text has `_total` behind its name.
    Counter,
    /// A number of now. Times are seconds since 1970.
    Gauge,
    /// How many were at most so much.
    Histogram,
}

/// Input of all metrics.
#[derive(Debug)]
struct Document {
    status: Status,
    process: ProcessFigures,
}

/// A metric.
struct Metric {
    /// Name without prefix, unit and `_total`.
    name: &'static str,
    unit: Option<&'static Unit>,
    kind: SampleKind,
    help: &'static str,
    /// Puts all samples that a document has.
    samples: fn(&Document, &mut Samples<'_>) -> fmt::Result,
}

impl Metric {
    const fn counter(
        name: &'static str,
        help: &'static str,
        samples: fn(&Document, &mut Samples<'_>) -> fmt::Result,
    ) -> Self {
        Self { name, unit: None, kind: SampleKind::Counter, help, samples }
    }

    const fn gauge(
        name: &'static str,
        help: &'static str,
        samples: fn(&Document, &mut Samples<'_>) -> fmt::Result,
    ) -> Self {
        Self { name, unit: None, kind: SampleKind::Gauge, help, samples }
    }

    const fn histogram(
        name: &'static str,
        help: &'static str,
        samples: fn(&Document, &mut Samples<'_>) -> fmt::Result,
    ) -> Self {
        Self { name, unit: None, kind: SampleKind::Histogram, help, samples }
    }

    const fn in_unit(mut self, unit: &'static Unit) -> Self {
        self.unit = Some(unit);
        self
    }
}

/// The place for a metric's samples.
struct Samples<'a> {
    encoder: MetricEncoder<'a>,
    kind: SampleKind,
}

/// Labels of a sample.
#[derive(Debug)]
struct Labels<'a>(&'a [Label<'a>]);

impl EncodeLabelSet for Labels<'_> {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> fmt::Result {
        self.0.encode(encoder)
    }
}

impl Samples<'_> {
    /// One sample.
    fn put(&mut self, labels: &[Label<'_>], value: impl Into<Value>) -> fmt::Result {
        let labels = Labels(labels);
        let mut encoder = self.encoder.encode_family(&labels)?;
        match (self.kind, value.into()) {
            (SampleKind::Counter, Value::Whole(value)) => {
                encoder.encode_counter(&value, None::<&Exemplar<Labels<'_>, f64>>)
            }
            (SampleKind::Counter, Value::Real(value)) => {
                encoder.encode_counter(&value, None::<&Exemplar<Labels<'_>, f64>>)
            }
            (SampleKind::Gauge | SampleKind::Histogram, Value::Whole(value)) => encoder.encode_gauge(&value),
            (SampleKind::Gauge | SampleKind::Histogram, Value::Real(value)) => encoder.encode_gauge(&value),
        }
    }

    /// One histogram: numbers by upper bound, the last of which has none, and the sum of all values.
    fn put_histogram(&mut self, sum: f64, buckets: &[(f64, u64)]) -> fmt::Result {
        let count = buckets.iter().map(|(_, number)| number).sum();
        self.encoder.encode_histogram::<Labels<'_>>(sum, count, buckets, None)
    }
}

/// All metrics of a document.
#[derive(Debug)]
struct Rendering(Arc<Document>, Detail);

impl Rendering {
    fn metrics(&self) -> impl Iterator<Item = &'static Metric> {
        let destinations: &[Metric] = match self.1 {
            Detail::Services => &[],
            Detail::Destinations => services::DESTINATIONS,
        };
        [host::METRICS, routers::METRICS, services::METRICS, destinations, process::METRICS]
            .into_iter()
            .flatten()
    }
}

impl Collector for Rendering {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for metric in self.metrics() {
            let name = if metric.name.starts_with("process_") {
                metric.name.to_owned()
            } else {
                format!("{PREFIX}_{}", metric.name)
            };
            let kind = match metric.kind {
                SampleKind::Counter => MetricType::Counter,
                SampleKind::Gauge => MetricType::Gauge,
                SampleKind::Histogram => MetricType::Histogram,
            };
            let encoder = encoder.encode_descriptor(&name, metric.help, metric.unit, kind)?;
            (metric.samples)(&self.0, &mut Samples { encoder, kind: metric.kind })?;
        }
        Ok(())
    }
}

/// The metrics of a status document, as text.
///
/// # Errors
/// None is known: writing to a text does not fail.
pub(crate) fn render(
    status: Status,
    process: ProcessFigures,
    detail: Detail,
    format: Format,
) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Rendering(Arc::new(Document { status, process }), detail)));
    let mut page = String::new();
    match format {
        Format::OpenMetrics => text::encode(&mut page, &registry)?,
        Format::Prometheus => prometheus_text::encode(&mut page, &registry)?,
    }
    Ok(page)
}

/// The word that a closed list has for a value in the document.
fn word(value: &impl serde::Serialize) -> String {
    let value = serde_json::to_value(value).unwrap_or_default();
    value.as_str().unwrap_or_default().to_owned()
}

/// Seconds since 1970 of a time of the document; nothing for a text that is none.
fn time(text: &str) -> Option<f64> {
    let time = humantime::parse_rfc3339(text).ok()?;
    time.duration_since(std::time::UNIX_EPOCH).ok().map(|since| since.as_secs_f64())
}

/// Seconds of this many milliseconds.
#[expect(clippy::cast_precision_loss, reason = "exact below 2^53 ms, which are 285,000 years")]
fn seconds(ms: u64) -> f64 {
    ms as f64 / 1e3
}

/// Seconds of this many microseconds.
#[expect(clippy::cast_precision_loss, reason = "exact below 2^53 us, which are 285 years")]
fn micros(us: u64) -> f64 {
    us as f64 / 1e6
}

#[cfg(test)]
pub(super) mod tests;
