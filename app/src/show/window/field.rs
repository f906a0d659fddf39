//! A text field whose content is checked while it is typed. What is wrong with it is said when the person is done with it, and
//! what was typed stays until it is right.

use std::ops::RangeInclusive;

use eframe::egui::{Id, Key, Modifiers, Response, RichText, TextEdit, Ui};
use jiff::{Span, civil::Date};

/// A text that is not in force yet.
#[derive(Clone, Debug, Default)]
pub struct Field {
    text: String,
    /// The person is done with it: what is wrong with it may be said.
    done: bool,
}

/// What came of a frame.
#[derive(Debug)]
pub struct Outcome<T> {
    /// What was typed, or what is wrong with it.
    pub value: Result<T, String>,
    /// The person has just left the field or pressed Enter.
    pub done: bool,
    /// The field has the focus.
    pub focused: bool,
}

/// How a field looks and what may stand in it.
pub struct Kind<T> {
    /// As wide.
    pub width: f32,
    /// Stands there while nothing else does.
    pub hint: &'static str,
    /// Reads what was typed, or says what is wrong with it.
    pub check: fn(&str) -> Result<T, String>,
    /// So many more, as text: what the up and down keys do.
    pub step: fn(&T, i64) -> Option<String>,
}

impl Field {
    /// A field with this text.
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), done: false }
    }

    /// What was typed.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Lets what is wrong be said although the person is still at it.
    pub fn finish(&mut self) {
        self.done = true;
    }

    /// Draws the field. `title`: the label that names it.
    pub fn ui<T>(&mut self, ui: &mut Ui, title: &Response, kind: &Kind<T>) -> Outcome<T> {
        let (response, outcome) = self.edit(ui, title.id.with("field"), kind);
        response.labelled_by(title.id);
        outcome
    }

    /// Draws the field where no label names it: a screen reader says this.
    pub fn named<T>(&mut self, ui: &mut Ui, id: Id, name: &str, kind: &Kind<T>) -> Outcome<T> {
        let (_, outcome) = self.edit(ui, id, kind);
        ui.ctx().accesskit_node_builder(id, |node| node.set_label(name));
        outcome
    }

    fn edit<T>(&mut self, ui: &mut Ui, id: Id, kind: &Kind<T>) -> (Response, Outcome<T>) {
        let steps = arrows(ui, id);
        if steps != 0
            && let Some(text) = (kind.check)(self.text.trim()).ok().and_then(|value| (kind.step)(&value, steps))
        {
            self.text = text;
        }
        let wrong = self.done && (kind.check)(self.text.trim()).is_err();
        let response = ui
            .scope(|ui| {
                if wrong {
                    super::prefixes::frame_in(ui, ui.visuals().error_fg_color);
                }
                ui.add(TextEdit::singleline(&mut self.text).id(id).hint_text(kind.hint).desired_width(kind.width))
            })
            .inner;
        let done = response.lost_focus();
        self.done = (self.done || done) && !response.changed();
        let outcome = Outcome { value: (kind.check)(self.text.trim()), done, focused: response.has_focus() };
        (response, outcome)
    }

    /// What is to be said of it.
    pub fn wrong<T>(&self, outcome: &Outcome<T>) -> Option<String> {
        outcome.value.as_ref().err().filter(|_| self.done).cloned()
    }
}

/// Up counts 1, down -1; nobody else gets them.
fn arrows(ui: &Ui, id: Id) -> i64 {
    if !ui.memory(|m| m.has_focus(id)) {
        return 0;
    }
    let times =
        |key| ui.input_mut(|i| i64::try_from(i.count_and_consume_key(Modifiers::NONE, key)).unwrap_or_default());
    times(Key::ArrowUp) - times(Key::ArrowDown)
}

/// A sentence about what was typed.
pub fn say_wrong(ui: &mut Ui, wrong: &str) {
    ui.label(RichText::new(wrong).color(ui.visuals().error_fg_color));
}

/// Two days that a person types: the first and the last of a span.
#[derive(Debug, Default)]
pub struct Dates {
    first: Field,
    last: Field,
}

const DATE: Kind<Date> = Kind {
    width: 112.0,
    hint: "YYYY-MM-DD",
    check: date,
    step: |date, days| Some(date.checked_add(Span::new().try_days(days).ok()?).ok()?.to_string()),
};

impl Dates {
    /// Begins with these.
    pub fn new(first: Date, last: Date) -> Self {
        Self { first: Field::new(first.to_string()), last: Field::new(last.to_string()) }
    }

    /// Draws both fields, and what is wrong with them. The days, if nothing is.
    pub fn ui(&mut self, ui: &mut Ui) -> Option<(Date, Date)> {
        let [first, last] = ui
            .horizontal(|ui| {
                [("From", &mut self.first), ("To", &mut self.last)].map(|(name, field)| {
                    let title = ui.label(name);
                    field.ui(ui, &title, &DATE)
                })
            })
            .inner;
        let wrong = self.first.wrong(&first).or_else(|| self.last.wrong(&last));
        let days = first.value.ok().zip(last.value.ok());
        let backwards = days.is_some_and(|(first, last)| last < first);
        if let Some(wrong) = wrong.or(backwards.then(|| "The second date is before the first.".to_owned())) {
            say_wrong(ui, &wrong);
        }
        days.filter(|_| !backwards)
    }
}

/// A day as a person writes it: 2026-11-01.
fn date(text: &str) -> Result<Date, String> {
    if text.is_empty() {
        return Err("Enter a date, such as 2026-11-01.".to_owned());
    }
    let complete = text.len() == 10;
    let date = Date::strptime("%Y-%m-%d", text).ok().filter(|_| complete);
    date.ok_or_else(|| format!("“{text}” is not a date. Write it like this: 2026-11-01."))
}

/// A whole number in this range.
pub fn whole(text: &str, range: RangeInclusive<u32>) -> Result<u32, String> {
    let number = text.parse().ok().filter(|number| range.contains(number));
    let wanted = format!("a whole number from {} to {}", range.start(), range.end());
    number
        .ok_or_else(|| if text.is_empty() { format!("Enter {wanted}.") } else { format!("“{text}” is not {wanted}.") })
}

/// So many more, within the range.
pub fn more(number: u32, more: i64, range: RangeInclusive<u32>) -> Option<String> {
    let sum = (i64::from(number) + more).clamp((*range.start()).into(), (*range.end()).into());
    Some(sum.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_dates_are_taken() {
        for text in ["2026-11-01", "2024-02-29"] {
            assert_eq!(date(text).unwrap().to_string(), text);
        }
        for text in ["2026-11-1", "2026-02-29", "1.11.2026", "today", "2026-11-01T10:00"] {
            assert_eq!(date(text).unwrap_err(), format!("“{text}” is not a date. Write it like this: 2026-11-01."));
        }
        assert_eq!(date("").unwrap_err(), "Enter a date, such as 2026-11-01.");
        assert_eq!((DATE.step)(&date("2026-11-01").unwrap(), -1).unwrap(), "2026-10-31");
    }
}
