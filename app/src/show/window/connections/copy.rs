//! Rows as a spreadsheet takes them, with exact figures. Pure.

use std::fmt::Write as _;

use super::{
    kept::{Entry, Kept},
    view::Line,
    words,
};
use crate::show::window::export::cell;

const HEAD: &str = "Remote\tAddress\tPort\tService\tProtocol\tOwner\tUnit\tCountry\tNetwork\tCounts as\tWhy\t\
                    Download (bytes/s)\tUpload (bytes/s)\tReceived (bytes)\tSent (bytes)\tOpen sockets\tLast seen (s ago)\tRemotes\n";

/// A line with the names of the columns, and a line for each row, with tabs between the columns. What the remotes of a row don't
/// have in common is left empty.
pub fn text<'a>(kept: &Kept, lines: impl Iterator<Item = &'a Line>) -> String {
    let mut text = HEAD.to_owned();
    for line in lines {
        let field = |of: fn(&Entry) -> String| line.common(kept, of).unwrap_or_default();
        let names = [
            line.name(kept),
            field(|entry| entry.remote.address.map(|address| address.to_string()).unwrap_or_default()),
            field(|entry| {
                Some(entry.remote.port).filter(|port| *port > 0).map(|port| port.to_string()).unwrap_or_default()
            }),
            field(|entry| entry.remote.whois.service.clone().unwrap_or_default()),
            field(|entry| words::protocol(entry.remote.protocol)),
            field(|entry| entry.owner.clone()),
            field(|entry| entry.remote.unit.clone()),
            field(|entry| entry.remote.whois.country.clone().unwrap_or_default()),
            field(|entry| {
                let network = entry.remote.whois.network.as_ref();
                network.map(|(number, name)| format!("AS{number} {name}")).unwrap_or_default()
            }),
            field(|entry| words::scope(entry.remote.scope).to_owned()),
            field(|entry| words::why(&entry.remote)),
        ];
        let [received, sent] = match line.bytes {
            Some(bytes) => bytes.map(|bytes| bytes.to_string()),
            None => ["not measured", "not measured"].map(str::to_owned),
        };
        let rates =
            line.rate.map_or(["", ""].map(str::to_owned), |rate| [rate.rx, rate.tx].map(|rate| format!("{rate:.0}")));
        let [down, up] = rates;
        let seen = if line.sockets > 0 { 0 } else { kept.now_ns.saturating_sub(line.seen_ns) / 1_000_000_000 };
        for name in &names {
            _ = write!(text, "{}\t", cell(name));
        }
        _ = writeln!(text, "{down}\t{up}\t{received}\t{sent}\t{}\t{seen}\t{}", line.sockets, line.members.len());
    }
    text
}
