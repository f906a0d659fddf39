//! The table in a terminal, and the same as plain lines.

use std::fmt::Write as _;

use netglance_dbus::text::printable;
use ratatui::{
    Frame,
    layout::{Constraint, Layout},
    style::{Color, Modifier, Style},
    text::{Line as TextLine, Span},
    widgets::{Paragraph, Row as TableRow, Table},
};

use super::{
    Beat, By,
    lines::{self, Line, What, protocol, scope},
};
use crate::{
    base::{
        format,
        settings::{Settings, Unit},
    },
    cli::terminal::colours,
    look::{live::Side, sampler::Source},
};

/// At most so many lines of a terminal are taken, and at least so many.
const LINES: std::ops::RangeInclusive<u16> = 6..=24;
/// The line with the columns' names.
const HEADING: usize = 1;
/// A narrower terminal has no room for totals, and one that is narrower still none for the scope.
const WITH_TOTALS: u16 = 92;
const WITH_SCOPE: u16 = 56;

/// How many lines of this terminal are used.
pub fn lines() -> u16 {
    let rows = ratatui::crossterm::terminal::size().map_or(*LINES.end(), |(_, rows)| rows);
    rows.saturating_sub(1).clamp(*LINES.start(), *LINES.end())
}

/// Draws a beat.
pub fn draw(frame: &mut Frame<'_>, beat: &Beat<'_>, by: By, settings: &Settings) {
    let bold = Style::new().add_modifier(Modifier::BOLD);
    let dim = Style::new().add_modifier(Modifier::DIM);
    let others_lines = u16::from(beat.others.is_some());
    let heights = [Constraint::Length(1), Constraint::Min(1), Constraint::Length(others_lines), Constraint::Length(1)];
    let [head, table, rest, foot] = Layout::vertical(heights).areas(frame.area());
    let lines = lines::of(&beat.rows, by);
    let mut title = vec![Span::styled(printable(beat.app), bold), Span::raw("  ")];
    title.extend(beat.failure.map(|failure| Span::raw(format!("{}  ", printable(failure)))));
    title.push(Span::styled(summary(beat, &lines, by), dim));
    frame.render_widget(TextLine::from(title), head);
    let room = usize::from(table.height).saturating_sub(HEADING);
    frame.render_widget(rows(beat, &lines, settings, table.width, room), table);
    if let Some(bytes) = beat.others {
        frame.render_widget(Paragraph::new(others(bytes)).style(dim), rest);
    }
    frame.render_widget(Paragraph::new("press Ctrl+C to quit").style(dim), foot);
}

/// What is in the table, and where it comes from.
fn summary(beat: &Beat<'_>, lines: &[Line<'_>], by: By) -> String {
    let (one, many) = match by {
        By::Remote => ("remote", "remotes"),
        By::Network => ("network", "networks"),
        By::Port => ("port", "ports"),
    };
    let source = match beat.source {
        Source::Exact if beat.is_complete => "exact",
        Source::Exact => "exact, too many remotes to tell apart",
        Source::Estimate => "estimate, TCP only",
    };
    format!("{} {}; {source}", lines.len(), if lines.len() == 1 { one } else { many })
}

fn rows<'a>(beat: &Beat<'_>, lines: &[Line<'_>], settings: &Settings, width: u16, room: usize) -> Table<'a> {
    let [download, upload] = colours(settings.colours);
    let cells = |cells: [(String, Style); 8], has_app: bool| {
        let [app, remote, protocol, scope, down, up, received, sent] =
            cells.map(|(text, style)| Span::styled(text, style));
        let mut row = Vec::new();
        row.extend(has_app.then_some(app));
        row.extend([remote, protocol]);
        row.extend((width >= WITH_SCOPE).then_some(scope));
        row.extend([down, up]);
        row.extend((width >= WITH_TOTALS).then_some([received, sent]).into_iter().flatten());
        TableRow::new(row)
    };
    let has_app = lines.iter().any(|line| line.app != beat.app);
    let plain = Style::new();
    let dim = plain.add_modifier(Modifier::DIM);
    let right = |text: &str| format!("{text:>11}");
    let heading = ["Application", "Remote", "Proto", "Scope", "Download", "Upload", "Received", "Sent"];
    let heading = cells(
        std::array::from_fn(|n| {
            let text = heading.get(n).copied().unwrap_or_default();
            (if n < 4 { text.to_owned() } else { right(text) }, dim)
        }),
        has_app,
    );
    let shown = if lines.len() > room { room.saturating_sub(1) } else { lines.len() };
    let mut all: Vec<_> = lines
        .iter()
        .take(shown)
        .map(|line| {
            let [down, up] = rates(line, settings.unit);
            let [received, sent] = totals(line.bytes);
            let of = |text: &str, colour: Color| (right(text), plain.fg(colour));
            cells(
                [
                    (printable(line.app).into_owned(), plain),
                    (name(line), plain),
                    (proto(line), dim),
                    (scope(line.scope).to_owned(), if line.scope == Some(Side::Internal) { dim } else { plain }),
                    of(&down, download),
                    of(&up, upload),
                    of(&received, download),
                    of(&sent, upload),
                ],
                has_app,
            )
        })
        .collect();
    if lines.len() > shown {
        let text = format!("… and {} more", lines.len() - shown);
        let mut row = vec![Span::raw(""); usize::from(has_app)];
        row.push(Span::styled(text, dim));
        all.push(TableRow::new(row));
    }
    let mut widths = Vec::new();
    widths.extend(has_app.then_some(Constraint::Fill(1)));
    widths.extend([Constraint::Fill(3), Constraint::Length(7)]);
    widths.extend((width >= WITH_SCOPE).then_some(Constraint::Length(8)));
    widths.extend([Constraint::Length(11); 2]);
    widths.extend((width >= WITH_TOTALS).then_some([Constraint::Length(11); 2]).into_iter().flatten());
    Table::new(all, widths).header(heading)
}

/// What is in no line.
fn others([rx, tx]: [u64; 2]) -> String {
    format!("other: {} down, {} up", format::bytes(rx), format::bytes(tx))
}

fn rates(line: &Line<'_>, unit: Unit) -> [String; 2] {
    line.rate.map_or_else(
        || ["-".to_owned(), "-".to_owned()],
        |rate| [rate.rx, rate.tx].map(|rate| format::rate(rate, unit)),
    )
}

fn totals(bytes: Option<[u64; 2]>) -> [String; 2] {
    bytes.map_or_else(|| ["-".to_owned(), "-".to_owned()], |bytes| bytes.map(format::bytes))
}

/// What a line is about. The names in it are strangers'.
fn name(line: &Line<'_>) -> String {
    let whois = &line.first.remote.whois;
    let port = |port: u16| match &whois.service {
        _ if port == 0 => String::new(),
        Some(service) => format!("{port} ({service})"),
        None => port.to_string(),
    };
    let text = match &line.what {
        What::Remote(None, ..) => "no fixed remote".to_owned(),
        What::Remote(Some(address), number, _) => {
            let host = match &whois.name {
                Some(name) => format!("{} ({address})", name.name),
                None if address.is_ipv6() && *number != 0 => format!("[{address}]"),
                None => address.to_string(),
            };
            if *number == 0 { host } else { format!("{host}:{}", port(*number)) }
        }
        What::System(number, name) => format!("{name} (AS{number})"),
        What::Prefix(Some(prefix)) => prefix.to_string(),
        What::Prefix(None) => "no fixed remote".to_owned(),
        What::Port(0, number) => format!("{} (no port)", protocol(*number)),
        What::Port(number, _) => port(*number),
    };
    printable(&text).into_owned()
}

fn proto(line: &Line<'_>) -> String {
    match &line.what {
        What::Remote(_, _, number) | What::Port(_, number) => protocol(*number),
        What::System(..) | What::Prefix(_) => String::new(),
    }
}

/// A beat as plain lines, with at most so many of the table's.
pub fn text(beat: &Beat<'_>, by: By, unit: Unit, most: usize) -> String {
    let time = jiff::ZonedDateTime::new(beat.time, jiff::tz::TimeZone::system()).strftime("%H:%M:%S").to_string();
    let lines = lines::of(&beat.rows, by);
    let mut text = format!("{time}  {}  {}", printable(beat.app), summary(beat, &lines, by));
    for line in lines.iter().take(most) {
        let ([down, up], [received, sent]) = (rates(line, unit), totals(line.bytes));
        let app = if line.app == beat.app { String::new() } else { format!("{}  ", printable(line.app)) };
        let (name, proto, scope) = (name(line), proto(line), scope(line.scope));
        _ = write!(
            text,
            "\n  {app}{name}{}{proto}  {scope}  down {down}  up {up}  (total {received} down, {sent} up)",
            if proto.is_empty() { "" } else { "  " }
        );
    }
    if lines.len() > most {
        _ = write!(text, "\n  … and {} more", lines.len() - most);
    }
    if let Some(bytes) = beat.others {
        _ = write!(text, "\n  {}", others(bytes));
    }
    text
}

#[cfg(test)]
mod tests {
    use ratatui::{Terminal, backend::TestBackend};

    use super::*;
    use crate::{
        cli::connections::Row,
        look::{
            rate::Rate,
            remotes::{Figures, Name, NamedBy, Remote, Whois},
        },
    };

    fn remote(id: u32, address: Option<&str>, name: Option<&str>) -> Remote {
        Remote {
            id,
            app: String::new(),
            unit: "a.service".into(),
            cgroup: "/a.service".into(),
            address: address.map(|address| address.parse().unwrap()),
            port: if address.is_some() { 443 } else { 0 },
            protocol: if address.is_some() { 6 } else { 17 },
            scope: address.map(|_| if id == 2 { Side::Internal } else { Side::External }),
            prefix: None,
            reason: String::new(),
            counters: None,
            proxy: None,
            whois: Whois {
                name: name.map(|name| Name { name: name.into(), by: NamedBy::ReverseDns }),
                service: Some("https".into()),
                ..Whois::default()
            },
        }
    }

    #[test]
    fn the_table_fits_and_shows_no_strangers_characters() {
        let hostile = "evil\u{1b}]0;x\u{7}\u{202e}.example";
        let remotes = [
            remote(1, Some("2606:2800:220:1::1"), None),
            remote(2, Some("10.0.0.1"), Some(hostile)),
            remote(3, None, None),
            remote(4, Some("8.8.8.8"), None),
        ];
        let rates = [Some(9e6), Some(2e6), None, Some(0.0)];
        let figures = |(id, rate): (u32, Option<f64>)| Figures {
            id,
            bytes: rate.map(|_| [5_000_000, 70_000]),
            rate: rate.map(|rx| Rate { rx, tx: 1000.0 }),
            ..Figures::default()
        };
        let figures: Vec<_> = (1..).zip(rates).map(figures).collect();
        let apps = ["an app\u{1b}", "an app\u{1b}", "an app\u{1b}", "another"];
        let rows = apps.into_iter().zip(&remotes).zip(&figures);
        let beat = Beat {
            time: jiff::Timestamp::UNIX_EPOCH,
            boottime_ns: 0,
            app: "an app\u{1b}",
            source: Source::Exact,
            rows: rows.map(|((app, remote), figures)| Row { app, remote, figures }).collect(),
            is_complete: false,
            others: Some([123_000, 456_000]),
            failure: None,
        };
        let check = |width, height, expected: &[&str]| {
            let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
            terminal.draw(|frame| draw(frame, &beat, By::Remote, &Settings::default())).unwrap();
            let buffer = terminal.backend().buffer();
            let lines: Vec<String> = (0..height)
                .map(|y| (0..width).map(|x| buffer[(x, y)].symbol()).collect::<String>().trim_end().to_owned())
                .collect();
            assert_eq!(lines, expected, "{lines:#?}");
        };
        check(
            132,
            8,
            &[
                "an app�  4 remotes; exact, too many remotes to tell apart",
                "Application       Remote                                            Proto   Scope       Download      Upload    Received        Sent",
                "an app�           [2606:2800:220:1::1]:443 (https)                  tcp     external   9.00 MB/s   1.00 kB/s     5.00 MB     70.0 kB",
                "an app�           evil�]0;x��.example (10.0.0.1):443 (https)        tcp     internal   2.00 MB/s   1.00 kB/s     5.00 MB     70.0 kB",
                "another           8.8.8.8:443 (https)                               tcp     external       0 B/s   1.00 kB/s     5.00 MB     70.0 kB",
                "an app�           no fixed remote                                   udp     -                  -           -           -           -",
                "other: 123 kB down, 456 kB up",
                "press Ctrl+C to quit",
            ],
        );
        check(
            70,
            7,
            &[
                "an app�  4 remotes; exact, too many remotes to tell apart",
                "Applica Remote                Proto   Scope       Download      Upload",
                "an app� [2606:2800:220:1::1]: tcp     external   9.00 MB/s   1.00 kB/s",
                "an app� evil�]0;x��.example ( tcp     internal   2.00 MB/s   1.00 kB/s",
                "        … and 2 more",
                "other: 123 kB down, 456 kB up",
                "press Ctrl+C to quit",
            ],
        );
        check(
            50,
            6,
            &[
                "an app�  4 remotes; exact, too many remotes to tel",
                "Appl Remote        Proto      Download      Upload",
                "an a [2606:2800:22 tcp       9.00 MB/s   1.00 kB/s",
                "     … and 3 more",
                "other: 123 kB down, 456 kB up",
                "press Ctrl+C to quit",
            ],
        );
        let text = text(&beat, By::Remote, Unit::Bytes, 3);
        assert!(text.chars().all(|c| c == '\n' || netglance_dbus::text::is_shown(c)), "{text:?}");
        assert!(text.ends_with("\n  … and 1 more\n  other: 123 kB down, 456 kB up"), "{text}");
    }
}
