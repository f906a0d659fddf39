//! The live view in a terminal: a few lines that are redrawn in place; what was printed before stays.

use std::{
    collections::VecDeque,
    io::{self, Stdout, Write as _},
};

use netglance_dbus::text::printable;
use ratatui::{
    Frame, TerminalOptions, Viewport,
    backend::CrosstermBackend,
    layout::{Constraint, Layout},
    style::{Color, Modifier, Style},
    text::{Line, Span},
    widgets::{Paragraph, Row, Sparkline, Table},
};

use super::{Error, report};
use crate::{
    base::{
        format,
        settings::{Palette, Settings, Unit},
    },
    look::reading::Reading,
};

const LINES: u16 = 14;
const UNITS_SHOWN: usize = 8;
const BARS_KEPT: usize = 400;

/// The lines below the cursor.
pub struct Screen {
    inner: ratatui::Terminal<CrosstermBackend<Stdout>>,
}

impl Screen {
    /// Takes so many lines. Keys and signals are left alone.
    pub fn open(lines: u16) -> Result<Self, Error> {
        let options = TerminalOptions { viewport: Viewport::Inline(lines) };
        let inner = ratatui::Terminal::with_options(CrosstermBackend::new(io::stdout()), options);
        let mut inner = inner.map_err(Error::io("draw in this terminal"))?;
        inner.hide_cursor().map_err(Error::io("draw in this terminal"))?;
        Ok(Self { inner })
    }

    /// Draws them.
    pub fn draw(&mut self, draw: impl FnOnce(&mut Frame<'_>)) -> Result<(), Error> {
        self.inner.draw(draw).map(drop).map_err(Error::io("draw in this terminal"))
    }

    /// Leaves the last picture and puts the cursor below it.
    pub fn close(mut self) -> Result<(), Error> {
        let area = self.inner.get_frame().area();
        let closed = self.inner.set_cursor_position((0, area.bottom().saturating_sub(1)));
        closed.and_then(|()| self.inner.show_cursor()).map_err(Error::io("restore this terminal"))?;
        // Nobody may look any more.
        _ = writeln!(io::stdout());
        Ok(())
    }
}

/// The terminal and the rates it has shown.
pub struct Terminal {
    screen: Screen,
    rx: VecDeque<Option<u64>>,
    tx: VecDeque<Option<u64>>,
}

impl Terminal {
    /// Takes the lines below the cursor.
    pub fn open() -> Result<Self, Error> {
        Ok(Self { screen: Screen::open(LINES)?, rx: VecDeque::new(), tx: VecDeque::new() })
    }

    /// Shows a reading.
    pub fn show(&mut self, reading: &Reading, settings: &Settings) -> Result<(), Error> {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates; a bar has 8 heights")]
        let whole = |rate: f64| rate as u64;
        let rate = reading.rate.as_ref().ok();
        for (bars, rate) in [(&mut self.rx, rate.map(|r| r.rx)), (&mut self.tx, rate.map(|r| r.tx))] {
            bars.push_front(rate.map(whole));
            bars.truncate(BARS_KEPT);
        }
        let (rx, tx) = (self.rx.make_contiguous(), self.tx.make_contiguous());
        self.screen.draw(|frame| draw(frame, reading, settings, rx, tx))
    }

    /// Leaves the last picture and puts the cursor below it.
    pub fn close(self) -> Result<(), Error> {
        self.screen.close()
    }
}

/// Download's and upload's colour, of those that a terminal has by name and its user may have chosen.
pub fn colours(palette: Palette) -> [Color; 2] {
    match palette {
        Palette::BlueOrange => [Color::Cyan, Color::Yellow],
        Palette::GreenPurple => [Color::Green, Color::Magenta],
        Palette::GreenRed => [Color::Green, Color::Red],
    }
}

fn draw(frame: &mut Frame<'_>, reading: &Reading, settings: &Settings, rx: &[Option<u64>], tx: &[Option<u64>]) {
    let unit = settings.unit;
    let [download, upload] = colours(settings.colours);
    let [head, down, up, units, foot] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(1),
        Constraint::Length(1),
        Constraint::Min(1),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    let bold = Style::new().add_modifier(Modifier::BOLD);
    let dim = Style::new().add_modifier(Modifier::DIM);
    let mut title = vec![Span::styled(printable(&reading.app), bold), Span::raw("  ")];
    if let Err(gap) = &reading.rate {
        title.push(Span::raw(format!("{}  ", printable(&gap.to_string()))));
    }
    title.push(Span::styled(report::source(reading), dim));
    frame.render_widget(Line::from(title), head);
    let rate = reading.rate.as_ref().ok();
    for (area, label, rate, bars, colour) in
        [(down, "Download", rate.map(|r| r.rx), rx, download), (up, "Upload  ", rate.map(|r| r.tx), tx, upload)]
    {
        let [label_area, rate_area, bars_area] =
            Layout::horizontal([Constraint::Length(9), Constraint::Length(13), Constraint::Min(0)]).areas(area);
        frame.render_widget(label, label_area);
        let text = rate.map_or("-".into(), |rate| format::rate(rate, unit));
        frame.render_widget(Span::styled(format!("{text:>11}"), bold.fg(colour)), rate_area);
        // The newest bar on the right, as time runs in every chart.
        let bars = Sparkline::default().data(bars.iter().take(bars_area.width.into()).rev().copied()).style(colour);
        frame.render_widget(bars, bars_area);
    }
    frame.render_widget(unit_table(reading, unit, [download, upload]), units);
    let left_out = reading.bytes.internal_rx.saturating_add(reading.bytes.internal_tx);
    let foot_text = format!(
        "total {} down, {} up; internal traffic (not counted): {}; press Ctrl+C to quit",
        format::bytes(reading.bytes.rx),
        format::bytes(reading.bytes.tx),
        format::bytes(left_out)
    );
    frame.render_widget(Paragraph::new(foot_text).style(dim), foot);
}

/// The busiest units, as many as there is room for.
fn unit_table(reading: &Reading, unit: Unit, [download, upload]: [Color; 2]) -> Table<'_> {
    let mut units: Vec<_> = reading.units.iter().collect();
    if units.len() > UNITS_SHOWN {
        units.sort_by_key(|u| std::cmp::Reverse(u.rx_bytes.saturating_add(u.tx_bytes)));
    }
    let more = units.len().saturating_sub(UNITS_SHOWN);
    let rows = units.into_iter().take(UNITS_SHOWN).map(|u| {
        let rate =
            |f: fn(&crate::look::rate::Rate) -> f64| u.rate.as_ref().map_or("-".into(), |r| format::rate(f(r), unit));
        let cell = |text: String, colour| Span::styled(format!("{text:>11}"), colour);
        Row::new([Span::raw(printable(&u.unit)), cell(rate(|r| r.rx), download), cell(rate(|r| r.tx), upload)])
    });
    let rest = (more > 0).then(|| Row::new([Span::raw(format!("… and {more} more"))]));
    Table::new(rows.chain(rest), [Constraint::Fill(1), Constraint::Length(12), Constraint::Length(12)])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::look::{
        rate::{Bytes, Rate},
        sampler::Source,
    };

    #[test]
    fn it_is_drawn_in_the_colours_that_were_chosen() {
        let reading = Reading {
            id: String::new(),
            time: jiff::Timestamp::UNIX_EPOCH,
            boottime_ns: 0,
            elapsed_secs: 0.0,
            app: "a".into(),
            source: Source::Exact,
            bytes: Bytes::default(),
            rate: Ok(Rate { rx: 1000.0, tx: 2000.0 }),
            unmeasured_udp_sockets: None,
            lacks_containers: false,
            units: Vec::new(),
        };
        for (colours, expected) in [
            (Palette::BlueOrange, [Color::Cyan, Color::Yellow]),
            (Palette::GreenPurple, [Color::Green, Color::Magenta]),
            (Palette::GreenRed, [Color::Green, Color::Red]),
        ] {
            let settings = Settings { colours, ..Settings::default() };
            let mut terminal = ratatui::Terminal::new(ratatui::backend::TestBackend::new(60, LINES)).unwrap();
            terminal.draw(|frame| draw(frame, &reading, &settings, &[Some(9)], &[Some(9)])).unwrap();
            let cells = terminal.backend().buffer();
            // The last digit of each rate.
            assert_eq!([(19, 1), (19, 2)].map(|at| cells[at].fg), expected, "{colours:?}");
        }
    }
}
