//! Writes the figures down for Prometheus: as its text format 0.0.4, the only one that node_exporter reads, or as OpenMetrics. Pure.
//!
//! No timestamps, which node_exporter refuses, and no `_created`, which would double the number of series.

use std::{
    fmt,
    io::{self, Write as _},
    sync::Arc,
};

use flate2::{Compression, write::GzEncoder};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric as _, MetricEncoder, prometheus_text, text},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
    registry::{Registry, Unit},
};

use super::series::{Counters, GAPS, UNITS};
use crate::look::{rate::Bytes, sampler::Source};

/// The text formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// Prometheus text, version 0.0.4.
    Text,
    /// OpenMetrics 1.0.0.
    OpenMetrics,
}

impl Format {
    /// As HTTP calls it.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Text => prometheus_text::CONTENT_TYPE,
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// Compresses a text with gzip, quickly: names repeat, and more effort saves little.
pub fn compress(text: &str) -> io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text.as_bytes())?;
    encoder.finish()
}

/// All that Prometheus is told at one moment.
#[derive(Clone, Debug)]
pub struct Page {
    /// What was counted.
    pub series: Vec<Counters>,
    /// Where the figures come from now.
    pub source: Source,
    /// Since when the helper has counted, in seconds since 1970; `None`: it doesn't count now.
    pub epoch_secs: Option<f64>,
    /// By reason, in the order of [`GAPS`].
    pub gaps: [u64; 4],
    /// UDP sockets that the estimate can't measure; `None`: the source is exact.
    pub unmeasured_udp: Option<u64>,
    /// The helper says that something is wrong.
    pub warns: bool,
    /// Units without a series of their own.
    pub over: usize,
    /// How much may be used.
    pub budgets: Vec<Budget>,
}

/// A budget for an amount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Budget {
    /// The app; empty: all together.
    pub app: String,
    /// `day`, `week` or `month`.
    pub per: &'static str,
    /// Whose settings it is in.
    pub user: String,
    /// External bytes that may be used in that time.
    pub limit_bytes: u64,
    /// Of those, how many are used so far by the history; `None`: nothing is recorded.
    pub used_bytes: Option<u64>,
    /// When that time ends, in seconds since 1970.
    pub end_secs: i64,
}

impl Page {
    /// In the words of a format.
    pub fn encode(self: &Arc<Self>, format: Format) -> Result<String, fmt::Error> {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(self.clone()));
        // A series with long names takes some 140 bytes.
        let mut out = String::with_capacity(4096 + self.series.len() * 4 * 160);
        match format {
            Format::Text => prometheus_text::encode(&mut out, &registry)?,
            Format::OpenMetrics => text::encode(&mut out, &registry)?,
        }
        Ok(out)
    }

    fn counters(&self, encoder: &mut DescriptorEncoder<'_>, family: &Family) -> fmt::Result {
        let mut metric =
            encoder.encode_descriptor(family.name, family.help, Some(&Unit::Bytes), MetricType::Counter)?;
        for counters in &self.series {
            for (source, bytes) in [(Source::Exact, counters.exact), (Source::Estimate, counters.estimate)] {
                let Some(bytes) = bytes else { continue };
                let labels = &*counters.labels;
                let labels = [
                    ("app", labels.app.as_str()),
                    ("unit", labels.unit.as_str()),
                    ("user", labels.user.as_str()),
                    ("source", name(source)),
                ];
                ConstCounter::new((family.bytes)(&bytes)).encode(metric.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }

    fn budgets(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        name: &str,
        help: &str,
        unit: &Unit,
        figure: fn(&Budget) -> Option<u64>,
    ) -> fmt::Result {
        let known: Vec<_> = self.budgets.iter().filter_map(|budget| Some((budget, figure(budget)?))).collect();
        if known.is_empty() {
            return Ok(());
        }
        let mut metric = gauge(encoder, name, help, Some(unit))?;
        for (Budget { app, per, user, .. }, figure) in known {
            let labels = [("app", app.as_str()), ("per", per), ("user", user.as_str())];
            ConstGauge::new(figure).encode(metric.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

struct Family {
    name: &'static str,
    help: &'static str,
    bytes: fn(&Bytes) -> u64,
}

const FAMILIES: [Family; 4] = [
    Family {
        name: "netglance_external_receive",
        help: "Bytes received from external addresses.",
        bytes: |bytes| bytes.rx,
    },
    Family { name: "netglance_external_transmit", help: "Bytes sent to external addresses.", bytes: |bytes| bytes.tx },
    Family {
        name: "netglance_internal_receive",
        help: "Bytes received from internal addresses: this computer, private networks, the local network, the tailnet.",
        bytes: |bytes| bytes.internal_rx,
    },
    Family {
        name: "netglance_internal_transmit",
        help: "Bytes sent to internal addresses: this computer, private networks, the local network, the tailnet.",
        bytes: |bytes| bytes.internal_tx,
    },
];

fn name(source: Source) -> &'static str {
    match source {
        Source::Exact => "exact",
        Source::Estimate => "estimate",
    }
}

impl Collector for Page {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for family in &FAMILIES {
            self.counters(&mut encoder, family)?;
        }
        let mut metric = gauge(&mut encoder, "netglance_source", "1 for the source that is in use.", None)?;
        for source in [Source::Exact, Source::Estimate] {
            value(&mut metric, &[("source", name(source))], f64::from(u8::from(source == self.source)))?;
        }
        if let Some(secs) = self.epoch_secs {
            let help = "When the counters of this source began at 0, in seconds since 1970.";
            let mut metric = gauge(&mut encoder, "netglance_epoch_start_time", help, Some(&Unit::Seconds))?;
            value(&mut metric, &[("source", name(Source::Exact))], secs)?;
        }
        let help = "Looks before which there was a gap: no rate can be told for the time since the look before.";
        let mut metric = encoder.encode_descriptor("netglance_gaps", help, None, MetricType::Counter)?;
        for (reason, count) in GAPS.into_iter().zip(self.gaps) {
            ConstCounter::new(count).encode(metric.encode_family(&[("reason", reason)])?)?;
        }
        if let Some(sockets) = self.unmeasured_udp {
            let help = "UDP sockets that can reach external addresses, whose bytes the estimate cannot see.";
            single(&mut encoder, "netglance_unmeasured_udp_sockets", help, sockets)?;
        }
        let help = "1 if the helper reports a problem, such as a full set of counters; netglance shows it.";
        single(&mut encoder, "netglance_helper_warning", help, u64::from(self.warns))?;
        let help = "The most units with series of their own, for each user and for the system.";
        single(&mut encoder, "netglance_units_limit", help, u64::try_from(UNITS).unwrap_or(u64::MAX))?;
        let help = "Units beyond that limit, whose bytes are counted as those of app=\"other\".";
        single(&mut encoder, "netglance_units_over_limit", help, u64::try_from(self.over).unwrap_or(u64::MAX))?;
        let help = "External bytes that may be used in a day, week or month.";
        self.budgets(&mut encoder, "netglance_budget_limit", help, &Unit::Bytes, |budget| Some(budget.limit_bytes))?;
        let help =
            "External bytes used in the current day, week or month by netglance's own history, estimates included.";
        self.budgets(&mut encoder, "netglance_budget_used", help, &Unit::Bytes, |budget| budget.used_bytes)?;
        let help = "When the current day, week or month ends on this computer, in seconds since 1970.";
        let end_secs = |budget: &Budget| u64::try_from(budget.end_secs).ok();
        self.budgets(&mut encoder, "netglance_budget_end_time", help, &Unit::Seconds, end_secs)?;
        let mut metric = gauge(&mut encoder, "netglance_build_info", "The version of netglance.", None)?;
        value(&mut metric, &[("version", env!("CARGO_PKG_VERSION"))], 1.0)
    }
}

fn gauge<'a>(
    encoder: &'a mut DescriptorEncoder<'_>,
    name: &'a str,
    help: &str,
    unit: Option<&'a Unit>,
) -> Result<MetricEncoder<'a>, fmt::Error> {
    encoder.encode_descriptor(name, help, unit, MetricType::Gauge)
}

fn value(metric: &mut MetricEncoder<'_>, labels: &impl EncodeLabelSet, value: f64) -> fmt::Result {
    ConstGauge::new(value).encode(metric.encode_family(labels)?)
}

fn single(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: u64) -> fmt::Result {
    ConstGauge::new(value).encode(gauge(encoder, name, help, None)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::series::Labels;

    fn page() -> Arc<Page> {
        let labels =
            |app: &str, unit: &str| Arc::new(Labels { app: app.into(), unit: unit.into(), user: "ann".into() });
        let bytes = |rx| Bytes { rx, tx: 2, internal_rx: 3, internal_tx: u64::MAX };
        Arc::new(Page {
            series: vec![
                Counters { labels: labels("a", "a.service"), exact: Some(bytes(1)), estimate: Some(bytes(9)) },
                Counters { labels: labels("b\"\\\n", "other"), exact: None, estimate: Some(bytes(0)) },
                Counters { labels: labels("c", "gone"), exact: None, estimate: None },
            ],
            source: Source::Estimate,
            epoch_secs: Some(1_795_798_352.5),
            gaps: [1, 2, 3, 4],
            unmeasured_udp: Some(5),
            warns: true,
            over: 6,
            budgets: vec![Budget {
                app: String::new(),
                per: "month",
                user: "ann".into(),
                limit_bytes: 7,
                used_bytes: Some(8),
                end_secs: 1_796_079_600,
            }],
        })
    }

    #[test]
    fn each_format_says_all_of_it() {
        insta::assert_snapshot!("text", page().encode(Format::Text).unwrap());
        insta::assert_snapshot!("openmetrics", page().encode(Format::OpenMetrics).unwrap());
    }
}
