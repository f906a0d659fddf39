//! The live view in a terminal: a few lines that are redrawn in place; what was printed before stays.

use std::{
    collections::VecDeque,
    io::{self, Stdout, Write as _},
};

use netglance_dbus::text::printable;
use ratatui::{
    TerminalOptions, Viewport,
    backend::CrosstermBackend,
    layout::{Constraint, Layout},
    style::{Color, Modifier, Style},
    text::{Line, Span},
    widgets::{Paragraph, Row, Sparkline, Table},
};

use super::{Error, report};
use crate::{
    base::{format, settings::Unit},
    look::reading::Reading,
};

const LINES: u16 = 14;
const UNITS_SHOWN: usize = 8;
const BARS_KEPT: usize = 400;
const DOWNLOAD: Color = Color::Cyan;
const UPLOAD: Color = Color::Yellow;

/// The terminal and the rates it has shown.
pub struct Terminal {
    inner: ratatui::Terminal<CrosstermBackend<Stdout>>,
    rx: VecDeque<Option<u64>>,
    tx: VecDeque<Option<u64>>,
}

impl Terminal {
    /// Takes the lines below the cursor. Keys and signals are left alone.
    pub fn open() -> Result<Self, Error> {
        let options = TerminalOptions { viewport: Viewport::Inline(LINES) };
        let inner = ratatui::Terminal::with_options(CrosstermBackend::new(io::stdout()), options);
        let mut inner = inner.map_err(Error::io("draw in this terminal"))?;
        inner.hide_cursor().map_err(Error::io("draw in this terminal"))?;
        Ok(Self { inner, rx: VecDeque::new(), tx: VecDeque::new() })
    }

    /// Shows a reading.
    pub fn show(&mut self, reading: &Reading, unit: Unit) -> Result<(), Error> {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates; a bar has 8 heights")]
        let whole = |rate: f64| rate as u64;
        let rate = reading.rate.as_ref().ok();
        for (bars, rate) in [(&mut self.rx, rate.map(|r| r.rx)), (&mut self.tx, rate.map(|r| r.tx))] {
            bars.push_front(rate.map(whole));
            bars.truncate(BARS_KEPT);
        }
        let (rx, tx) = (self.rx.make_contiguous(), self.tx.make_contiguous());
        let drawn = self.inner.draw(|frame| draw(frame, reading, unit, rx, tx));
        drawn.map(drop).map_err(Error::io("draw in this terminal"))
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

fn draw(frame: &mut ratatui::Frame<'_>, reading: &Reading, unit: Unit, rx: &[Option<u64>], tx: &[Option<u64>]) {
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
        [(down, "Download", rate.map(|r| r.rx), rx, DOWNLOAD), (up, "Upload  ", rate.map(|r| r.tx), tx, UPLOAD)]
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
    frame.render_widget(unit_table(reading, unit), units);
    let left_out = reading.bytes.internal_rx.saturating_add(reading.bytes.internal_tx);
    let foot_text = format!(
        "total {} down, {} up; internal traffic (left out): {}; press Ctrl+C to quit",
        format::bytes(reading.bytes.rx),
        format::bytes(reading.bytes.tx),
        format::bytes(left_out)
    );
    frame.render_widget(Paragraph::new(foot_text).style(dim), foot);
}

/// The busiest units, as many as there is room for.
fn unit_table(reading: &Reading, unit: Unit) -> Table<'_> {
    let mut units: Vec<_> = reading.units.iter().collect();
    if units.len() > UNITS_SHOWN {
        units.sort_by_key(|u| std::cmp::Reverse(u.rx_bytes.saturating_add(u.tx_bytes)));
    }
    let more = units.len().saturating_sub(UNITS_SHOWN);
    let rows = units.into_iter().take(UNITS_SHOWN).map(|u| {
        let rate =
            |f: fn(&crate::look::rate::Rate) -> f64| u.rate.as_ref().map_or("-".into(), |r| format::rate(f(r), unit));
        let cell = |text: String, colour| Span::styled(format!("{text:>11}"), colour);
        Row::new([Span::raw(printable(&u.unit)), cell(rate(|r| r.rx), DOWNLOAD), cell(rate(|r| r.tx), UPLOAD)])
    });
    let rest = (more > 0).then(|| Row::new([Span::raw(format!("… and {more} more"))]));
    Table::new(rows.chain(rest), [Constraint::Fill(1), Constraint::Length(12), Constraint::Length(12)])
}
