//! The rows of a beat, or their groups, as one JSON object a line. Absent figures are null.

use std::net::IpAddr;

use serde::Serialize;

use super::{
    Beat, By, Row,
    lines::{self, Line, What, protocol},
};
use crate::look::{live::Side, remotes::NamedBy, sampler::Source};

/// A row, or the others.
#[derive(Serialize)]
struct Json<'a> {
    time: String,
    boottime_ns: u64,
    app: &'a str,
    source: Source,
    cgroup: Option<&'a str>,
    unit: Option<&'a str>,
    address: Option<IpAddr>,
    /// `None`: the protocol has none.
    port: Option<u16>,
    protocol: Option<String>,
    scope: Option<Side>,
    rx_bytes: Option<u64>,
    tx_bytes: Option<u64>,
    rx_rate: Option<f64>,
    tx_rate: Option<f64>,
    prefix: Option<&'a str>,
    reason: Option<&'a str>,
    /// Which side the helper's counters have it on.
    counters: Option<Side>,
    proxy: Option<&'a str>,
    sockets: Option<u32>,
    seen_ns: Option<u64>,
    complete: bool,
    name: Option<&'a str>,
    named_by: Option<&'static str>,
    service: Option<&'a str>,
    country: Option<&'a str>,
    asn: Option<u32>,
    network: Option<&'a str>,
    /// All that is in no row.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    others: bool,
}

/// Several rows.
#[derive(Serialize)]
struct Group<'a> {
    time: String,
    boottime_ns: u64,
    app: &'a str,
    source: Source,
    #[serde(flatten)]
    what: Common<'a>,
    scope: Option<Side>,
    rx_bytes: Option<u64>,
    tx_bytes: Option<u64>,
    rx_rate: Option<f64>,
    tx_rate: Option<f64>,
    remotes: u32,
    sockets: u32,
    complete: bool,
}

/// What they have in common.
#[derive(Serialize)]
#[serde(untagged)]
enum Common<'a> {
    Network { asn: Option<u32>, network: Option<String> },
    Port { port: Option<u16>, protocol: String, service: Option<&'a str> },
}

/// All lines of a beat; empty where there are none.
pub fn lines(beat: &Beat<'_>, by: By) -> serde_json::Result<String> {
    let mut lines = Vec::new();
    if by == By::Remote {
        for row in &beat.rows {
            lines.push(serde_json::to_string(&of_row(beat, row))?);
        }
    } else {
        for line in lines::of(&beat.rows, by) {
            lines.push(serde_json::to_string(&of_group(beat, &line))?);
        }
    }
    if let Some(bytes) = beat.others {
        lines.push(serde_json::to_string(&of_others(beat, bytes))?);
    }
    Ok(lines.join("\n"))
}

fn of_row<'a>(beat: &Beat<'a>, Row { app, remote, figures }: &Row<'a>) -> Json<'a> {
    let whois = &remote.whois;
    Json {
        time: beat.time.to_string(),
        boottime_ns: beat.boottime_ns,
        app,
        source: beat.source,
        cgroup: Some(&remote.cgroup),
        unit: Some(&remote.unit),
        address: remote.address,
        port: Some(remote.port).filter(|port| *port != 0),
        protocol: Some(protocol(remote.protocol)),
        scope: remote.scope,
        rx_bytes: figures.bytes.map(|[rx, _]| rx),
        tx_bytes: figures.bytes.map(|[_, tx]| tx),
        rx_rate: figures.rate.map(|rate| rate.rx),
        tx_rate: figures.rate.map(|rate| rate.tx),
        prefix: remote.prefix.as_deref(),
        reason: Some(&remote.reason),
        counters: remote.counters,
        proxy: remote.proxy.as_deref(),
        sockets: Some(figures.sockets),
        seen_ns: Some(figures.seen_ns),
        complete: beat.is_complete,
        name: whois.name.as_ref().map(|name| name.name.as_str()),
        named_by: whois.name.as_ref().map(|name| match name.by {
            NamedBy::ReverseDns => "reverse_dns",
            NamedBy::Query => "query",
        }),
        service: whois.service.as_deref(),
        country: whois.country.as_deref(),
        asn: whois.network.as_ref().map(|(number, _)| *number),
        network: whois.network.as_ref().map(|(_, name)| name.as_str()),
        others: false,
    }
}

fn of_others<'a>(beat: &Beat<'a>, [rx, tx]: [u64; 2]) -> Json<'a> {
    Json {
        time: beat.time.to_string(),
        boottime_ns: beat.boottime_ns,
        app: beat.app,
        source: beat.source,
        cgroup: None,
        unit: None,
        address: None,
        port: None,
        protocol: None,
        scope: None,
        rx_bytes: Some(rx),
        tx_bytes: Some(tx),
        rx_rate: None,
        tx_rate: None,
        prefix: None,
        reason: None,
        counters: None,
        proxy: None,
        sockets: None,
        seen_ns: None,
        complete: beat.is_complete,
        name: None,
        named_by: None,
        service: None,
        country: None,
        asn: None,
        network: None,
        others: true,
    }
}

fn of_group<'a>(beat: &Beat<'a>, line: &Line<'a>) -> Group<'a> {
    let what = match &line.what {
        What::System(number, name) => Common::Network { asn: Some(*number), network: Some((*name).to_owned()) },
        What::Prefix(prefix) => Common::Network { asn: None, network: prefix.map(|prefix| prefix.to_string()) },
        What::Remote(_, port, number) | What::Port(port, number) => Common::Port {
            port: Some(*port).filter(|port| *port != 0),
            protocol: protocol(*number),
            service: line.first.remote.whois.service.as_deref(),
        },
    };
    Group {
        time: beat.time.to_string(),
        boottime_ns: beat.boottime_ns,
        app: line.app,
        source: beat.source,
        what,
        scope: line.scope,
        rx_bytes: line.bytes.map(|[rx, _]| rx),
        tx_bytes: line.bytes.map(|[_, tx]| tx),
        rx_rate: line.rate.map(|rate| rate.rx),
        tx_rate: line.rate.map(|rate| rate.tx),
        remotes: line.remotes,
        sockets: line.sockets,
        complete: beat.is_complete,
    }
}
