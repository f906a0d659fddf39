//! A report as text for a terminal and as Markdown. Pure.

use std::fmt::Write as _;

use netglance_dbus::text::{printable, printable_lines};
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

/// For a terminal of 80 columns or more. `colour`: with the terminal's escape sequences, which are the only ones in it.
pub fn text(report: &Report, colour: bool) -> String {
    let bold = |text: &str| if colour { printable(text).bold().to_string() } else { printable(text).into_owned() };
    let mut page = String::new();
    for finding in &report.findings {
        let status = finding.status;
        let head = format!("{} {:7}", status.mark(), status.word());
        let head = if colour { head.with(status.colour()).to_string() } else { head };
        _ = writeln!(page, "{head} {}", bold(&finding.title));
        wrap(&mut page, INDENT, &finding.detail);
    }
    _ = writeln!(page, "\n{}", bold(&format!("Best method for this host: {}", word(report.design))));
    wrap(&mut page, 2, &report.why);
    if !report.blind_spots.is_empty() {
        _ = writeln!(page, "\n{}", bold("Not counted here by either method"));
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
        _ = writeln!(page, "{:INDENT$}undo: {}", "", printable(&step.undo));
    }
    page
}

/// For an issue, a chat, a wiki.
pub fn markdown(report: &Report) -> String {
    let mut page = String::from("## netglance doctor\n\n| | finding | what it means here |\n|---|---|---|\n");
    for Finding { status, title, detail, .. } in &report.findings {
        let (title, detail) = (plain(title), plain(detail));
        _ = writeln!(page, "| {} {} | {title} | {detail} |", status.mark(), status.word());
    }
    _ = writeln!(page, "\n**Best method for this host: {}.** {}", word(report.design), plain(&report.why));
    if !report.blind_spots.is_empty() {
        page.push_str("\n### Not counted here by either method\n\n");
        for spot in &report.blind_spots {
            _ = writeln!(page, "- {}", plain(&spot.text));
        }
    }
    page.push_str("\n### What to do\n\n");
    for (number, Step { who, command, text, undo }) in (1..).zip(&report.steps) {
        let command = command.as_ref().map(|command| code(command) + " ").unwrap_or_default();
        _ = writeln!(page, "{number}. **{}** {command}{} Undo: {}.", who.word(), plain(text), plain(undo));
    }
    page
}

/// A text as Markdown that is nothing but that text, in a cell of a table too: names in it are strangers', and an issue renders
/// their links and images.
fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut before = ' ';
    let text = printable_lines(text);
    let mut characters = text.chars().peekable();
    while let Some(c) = characters.next() {
        let in_a_word = before.is_alphanumeric() && characters.peek().is_some_and(|next| next.is_alphanumeric());
        match c {
            '\n' => plain.push_str("<br>"),
            '<' => plain.push_str("&lt;"),
            '&' => plain.push_str("&amp;"),
            '_' if in_a_word => plain.push(c),
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '~' => plain.extend(['\\', c]),
            _ => plain.push(c),
        }
        before = c;
    }
    plain
}

/// A command as code in Markdown (CommonMark, "Code spans"): between more backticks than there are in it anywhere in a row.
fn code(command: &str) -> String {
    let command = printable(command);
    let longest = command.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    if longest == 0 {
        return format!("`{command}`");
    }
    let fence = "`".repeat(longest + 1);
    format!("{fence} {command} {fence}")
}

/// Adds `text` line by line, each indented.
fn wrap(page: &mut String, indent: usize, text: &str) {
    for line in text.lines() {
        wrap_after(page, &" ".repeat(indent), line);
    }
}

/// Adds `text` behind `head`, its further lines indented as far.
fn wrap_after(page: &mut String, head: &str, text: &str) {
    let text = printable(text);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_nothing_but_text_in_markdown() {
        for (text, expected) in [
            ("nf_tables at 5.13, tested from 6.1 on.", "nf_tables at 5.13, tested from 6.1 on."),
            ("a\nb\u{1b}[31m", "a<br>b\u{FFFD}\\[31m"),
            ("x|y `z` *b* _i_ ~s~", r"x\|y \`z\` \*b\* \_i\_ \~s\~"),
            ("<img src=x>&lt;", "&lt;img src=x>&amp;lt;"),
            ("![a](http://b/)", r"!\[a\](http://b/)"),
            (r"app-a\x2db.service", r"app-a\\x2db.service"),
        ] {
            assert_eq!(plain(text), expected);
        }
        for (command, expected) in [
            ("netglance watch", "`netglance watch`"),
            ("--app 'a`b'", "`` --app 'a`b' ``"),
            ("a``b` c", "``` a``b` c ```"),
            ("a\u{1b}b", "`a\u{FFFD}b`"),
        ] {
            assert_eq!(code(command), expected);
        }
    }
}
