//! One page of metrics in either of the two text formats that Prometheus reads.
//!
//! The encoder writes OpenMetrics, where the counter `x` has the sample `x_total`. The classic format knows no
//! such pairs: there the counter itself is named `x_total`.

use std::borrow::Cow;
use std::fmt;

use prometheus_client::encoding::{DescriptorEncoder, EncodeCounterValue, EncodeGaugeValue, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::exemplar::Exemplar;

use crate::metrics::BUCKETS;

/// The text format of the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// OpenMetrics 1.0.
    OpenMetrics,
    /// Prometheus text 0.0.4: what a browser or curl gets.
    Classic,
}

impl Format {
    const OPEN_METRICS: &str = "application/openmetrics-text";

    /// OpenMetrics for those who name it in their `Accept`, as Prometheus does; the classic format for all others.
    pub(crate) fn accepted<'a>(accept: impl Iterator<Item = &'a str>) -> Self {
        let mut ranges = accept.flat_map(|line| line.split(','));
        let wanted = ranges.any(|range| {
            let mut parts = range.split(';').map(str::trim);
            let named = parts.next().is_some_and(|name| name.eq_ignore_ascii_case(Self::OPEN_METRICS));
            let refused = parts.any(|part| part.strip_prefix("q=").is_some_and(|q| q.parse() == Ok(0.0)));
            named && !refused
        });
        if wanted { Self::OpenMetrics } else { Self::Classic }
    }

    /// The value of `Content-Type`.
    pub(crate) fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Classic => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// The labels of one sample. No two samples of a metric may have the same.
pub(super) type Labels<'a> = Vec<(&'static str, Cow<'a, str>)>;

/// What [`Histogram::read`](crate::metrics::Histogram::read) gives: counts per bucket, and the sum in seconds.
pub(super) type Durations = ([u64; BUCKETS.len() + 1], f64);

/// The page while it is written, one metric after the other.
pub(super) struct Page<'a> {
    encoder: DescriptorEncoder<'a>,
    format: Format,
}

impl<'a> Page<'a> {
    pub(super) fn new(encoder: DescriptorEncoder<'a>, format: Format) -> Self {
        Self { encoder, format }
    }

    /// Writes a counter; `name` is without `_total`.
    pub(super) fn counter<'l, V>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (Labels<'l>, V)>,
    ) -> fmt::Result
    where
        V: EncodeCounterValue + EncodeGaugeValue,
    {
        match self.format {
            Format::OpenMetrics => self.metric(name, help, MetricType::Counter, samples, |mut sample, value| {
                sample.encode_counter(&value, None::<&Exemplar<NoLabelSet, f64>>)
            }),
            Format::Classic => {
                let name = format!("{name}_total");
                self.metric(&name, help, MetricType::Counter, samples, |mut sample, value| sample.encode_gauge(&value))
            }
        }
    }

    /// Writes a gauge.
    pub(super) fn gauge<'l, V: EncodeGaugeValue>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (Labels<'l>, V)>,
    ) -> fmt::Result {
        self.metric(name, help, MetricType::Gauge, samples, |mut sample, value| sample.encode_gauge(&value))
    }

    /// Writes a histogram of durations.
    pub(super) fn histogram<'l>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (Labels<'l>, Durations)>,
    ) -> fmt::Result {
        self.metric(name, help, MetricType::Histogram, samples, |mut sample, (counts, sum)| {
            let bounds = BUCKETS.into_iter().chain([f64::INFINITY]);
            let buckets: Vec<_> = bounds.zip(counts).collect();
            sample.encode_histogram::<NoLabelSet>(sum, counts.iter().sum(), &buckets, None)
        })
    }

    fn metric<'l, V>(
        &mut self,
        name: &str,
        help: &str,
        kind: MetricType,
        samples: impl IntoIterator<Item = (Labels<'l>, V)>,
        write: impl Fn(MetricEncoder, V) -> fmt::Result,
    ) -> fmt::Result {
        let mut metric = self.encoder.encode_descriptor(name, help, None, kind)?;
        for (labels, value) in samples {
            if labels.is_empty() {
                // Spares the empty braces; a metric without labels has this one sample.
                return write(metric, value);
            }
            write(metric.encode_family(&labels)?, value)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_metrics_is_for_those_who_name_it() {
        let prometheus = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.1";
        for accept in [prometheus, "text/html, Application/OpenMetrics-Text", "application/openmetrics-text; q=0.1"] {
            assert_eq!(Format::accepted([accept].into_iter()), Format::OpenMetrics, "{accept}");
        }
        for accept in ["", "*/*", "text/plain", "application/openmetrics-text;q=0, */*", ",;,;=", "q=1"] {
            assert_eq!(Format::accepted([accept].into_iter()), Format::Classic, "{accept}");
        }
        assert_eq!(Format::accepted(["text/html", prometheus].into_iter()), Format::OpenMetrics, "two header lines");
        assert_eq!(Format::accepted([].into_iter()), Format::Classic);
    }
}
