//! A report as text for a terminal and as Markdown. Pure.

use std::fmt::Write as _;

use ratatui::crossterm::style::{Color, Stylize as _};

use super::{Design, Finding, Report, Status, Step, Who};

/// Columns that a page has.
const WIDTH: usize = 80;
/// Where a finding's text begins: behind the mark and the word.
const INDENT: usize = 10;

impl Status {
    const fn mark(self) -> &'static str {
        match self {
            Self::Ok => "✓",
            Self::Note => "·",
            Self::Warning => "!",
            Self::Problem => "✗",
            Self::Unknown => "?",
        }
    }

    const fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Problem => "problem",
            Self::Unknown => "unknown",
        }
    }

    const fn colour(self) -> Color {
        match self {
            Self::Ok => Color::Green,
            Self::Note => Color::Blue,
            Self::Warning => Color::Yellow,
            Self::Problem => Color::Red,
            Self::Unknown => Color::Magenta,
        }
    }
}

impl Who {
    const fn word(self) -> &'static str {
        match self {
            Self::User => "[user]",
            Self::Root => "[root]",
        }
    }
}

fn word(design: Option<Design>) -> &'static str {
    match design {
        Some(Design::Exact) => "exact",
        Some(Design::Estimate) => "estimate",
        None => "none",
    }
}

/// For a terminal of 80 columns or more. `colour`: with the terminal's escape sequences.
pub fn text(report: &Report, colour: bool) -> String {
    let bold = |text: &str| if colour { text.bold().to_string() } else { text.to_owned() };
    let mut page = String::new();
    for finding in &report.findings {
        let status = finding.status;
        let head = format!("{} {:7}", status.mark(), status.word());
        let head = if colour { head.with(status.colour()).to_string() } else { head };
        _ = writeln!(page, "{head} {}", bold(&finding.title));
        wrap(&mut page, INDENT, &finding.detail);
    }
    _ = writeln!(page, "\n{}", bold(&format!("What fits this host: {}", word(report.design))));
    wrap(&mut page, 2, &report.why);
    if !report.blind_spots.is_empty() {
        _ = writeln!(page, "\n{}", bold("Not seen here, whichever way"));
        for spot in &report.blind_spots {
            wrap_after(&mut page, "  - ", &spot.text);
        }
    }
    _ = writeln!(page, "\n{}", bold("What to do"));
    for (number, step) in (1..).zip(&report.steps) {
        let head = format!("{number}. {}", step.who.word());
        match &step.command {
            Some(command) => {
                _ = writeln!(page, "{head} {}", bold(command));
                wrap(&mut page, INDENT, &step.text);
            }
            None => wrap_after(&mut page, &format!("{head} "), &step.text),
        }
        // A command is one line, however long: it is there to be copied.
        _ = writeln!(page, "{:INDENT$}undo: {}", "", step.undo);
    }
    page
}

/// For an issue, a chat, a wiki.
pub fn markdown(report: &Report) -> String {
    let mut page = String::from("## netglance doctor\n\n| | finding | what it means here |\n|---|---|---|\n");
    let cell = |text: &str| text.replace('|', "\\|").replace('\n', "<br>");
    for Finding { status, title, detail, .. } in &report.findings {
        _ = writeln!(page, "| {} {} | {} | {} |", status.mark(), status.word(), cell(title), cell(detail));
    }
    _ = writeln!(page, "\n**What fits this host: {}.** {}", word(report.design), report.why);
    if !report.blind_spots.is_empty() {
        page.push_str("\n### Not seen here, whichever way\n\n");
        for spot in &report.blind_spots {
            _ = writeln!(page, "- {}", spot.text);
        }
    }
    page.push_str("\n### What to do\n\n");
    for (number, Step { who, command, text, undo }) in (1..).zip(&report.steps) {
        let command = command.as_ref().map(|command| format!("`{command}` ")).unwrap_or_default();
        _ = writeln!(page, "{number}. **{}** {command}{text} Undo: {undo}.", who.word());
    }
    page
}

/// Adds `text` line by line, each indented.
fn wrap(page: &mut String, indent: usize, text: &str) {
    for line in text.lines() {
        wrap_after(page, &" ".repeat(indent), line);
    }
}

/// Adds `text` behind `head`, its further lines indented as far.
fn wrap_after(page: &mut String, head: &str, text: &str) {
    let indent = " ".repeat(head.chars().count());
    let mut line = head.to_owned();
    let mut empty = true;
    for word in text.split(' ') {
        if !empty && line.chars().count() + 1 + word.chars().count() > WIDTH {
            _ = writeln!(page, "{line}");
            line = indent.clone();
            empty = true;
        }
        if !empty {
            line.push(' ');
        }
        line.push_str(word);
        empty = false;
    }
    _ = writeln!(page, "{line}");
}
