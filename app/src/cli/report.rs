//! A reading as JSON and as lines of text.

use netglance_dbus::text::printable;
use serde::Serialize;

use crate::{
    base::{format, settings::Unit},
    look::{
        reading::{Reading, UnitReading},
        sampler::Source,
    },
};

/// One line of `watch --json`. Absent figures are null.
#[derive(Serialize)]
pub struct Json<'a> {
    time: String,
    boottime_ns: u64,
    elapsed_s: f64,
    app: &'a str,
    source: Source,
    rx_bytes: u64,
    tx_bytes: u64,
    rx_rate: Option<f64>,
    tx_rate: Option<f64>,
    internal_rx_bytes: u64,
    internal_tx_bytes: u64,
    gap: Option<String>,
    unmeasured_udp_sockets: Option<u32>,
    /// Its containers or virtual machines are not in the figures.
    lacks_containers: bool,
    units: Vec<JsonUnit<'a>>,
}

#[derive(Serialize)]
struct JsonUnit<'a> {
    unit: &'a str,
    cgroup: &'a str,
    rx_bytes: u64,
    tx_bytes: u64,
    rx_rate: Option<f64>,
    tx_rate: Option<f64>,
}

impl<'a> From<&'a Reading> for Json<'a> {
    fn from(reading: &'a Reading) -> Self {
        let rate = reading.rate.as_ref().ok();
        let unit = |u: &'a UnitReading| JsonUnit {
            unit: &u.unit,
            cgroup: &u.cgroup,
            rx_bytes: u.rx_bytes,
            tx_bytes: u.tx_bytes,
            rx_rate: u.rate.map(|r| r.rx),
            tx_rate: u.rate.map(|r| r.tx),
        };
        Self {
            time: reading.time.to_string(),
            boottime_ns: reading.boottime_ns,
            elapsed_s: reading.elapsed_secs,
            app: &reading.app,
            source: reading.source,
            rx_bytes: reading.bytes.rx,
            tx_bytes: reading.bytes.tx,
            rx_rate: rate.map(|r| r.rx),
            tx_rate: rate.map(|r| r.tx),
            internal_rx_bytes: reading.bytes.internal_rx,
            internal_tx_bytes: reading.bytes.internal_tx,
            gap: reading.rate.as_ref().err().map(ToString::to_string),
            unmeasured_udp_sockets: reading.unmeasured_udp_sockets,
            lacks_containers: reading.lacks_containers,
            units: reading.units.iter().map(unit).collect(),
        }
    }
}

/// Download and upload, or why there are none.
pub fn rates(reading: &Reading, unit: Unit) -> String {
    match &reading.rate {
        Ok(rate) => format!("down {}  up {}", format::rate(rate.rx, unit), format::rate(rate.tx, unit)),
        Err(gap) => printable(&gap.to_string()).into_owned(),
    }
}

/// The source in words, for as long as it is in force.
pub fn source(reading: &Reading) -> String {
    let words = match (reading.source, reading.unmeasured_udp_sockets) {
        (Source::Exact, _) => "exact".to_owned(),
        (Source::Estimate, Some(0)) => "estimate, TCP only".to_owned(),
        (Source::Estimate, Some(1)) => "estimate, TCP only; 1 UDP socket not measured".to_owned(),
        (Source::Estimate, Some(n)) => format!("estimate, TCP only; {n} UDP sockets not measured"),
        (Source::Estimate, None) => "estimate, TCP only; UDP sockets unknown".to_owned(),
    };
    if reading.lacks_containers { words + "; containers not counted" } else { words }
}

/// One beat on one line.
pub fn line(reading: &Reading, unit: Unit) -> String {
    let time = jiff::ZonedDateTime::new(reading.time, jiff::tz::TimeZone::system()).strftime("%H:%M:%S").to_string();
    format!("{time}  {}  {}  ({})", printable(&reading.app), rates(reading, unit), source(reading))
}

/// What was moved since the watch began, and what was left out.
pub fn totals(reading: &Reading) -> String {
    let bytes = reading.bytes;
    format!(
        "{}: down {}, up {} in {:.1} s ({}); internal traffic (not counted): {}",
        printable(&reading.app),
        format::bytes(bytes.rx),
        format::bytes(bytes.tx),
        reading.elapsed_secs,
        source(reading),
        format::bytes(bytes.internal_rx.saturating_add(bytes.internal_tx)),
    )
}
