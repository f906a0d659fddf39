//! Asks before something of the recorded past is forgotten: what goes, and that it can't be brought back.

use eframe::egui::{Button, Frame, Id, Modal, Ui};

use super::{
    choice::{self, Choice},
    field::Dates,
    keys::Action,
};
use crate::show::update::{Command, Forget};

/// What is asked about.
#[derive(Debug)]
pub enum Forgetting {
    /// All of an app.
    App {
        /// Its id.
        id: String,
        /// What a person reads.
        name: String,
    },
    /// Some days of all apps, or everything.
    Choice {
        /// Everything.
        everything: bool,
        /// The days.
        dates: Dates,
    },
}

impl Default for Forgetting {
    fn default() -> Self {
        Self::Choice { everything: false, dates: Dates::default() }
    }
}

/// What a person answers.
#[derive(Debug)]
pub enum Answer {
    /// Forget this.
    Yes(Command),
    /// Forget nothing.
    No,
}

impl Forgetting {
    /// Draws the question over everything. `None`: no answer yet.
    pub fn ui(&mut self, ui: &Ui) -> Option<Answer> {
        let frame = Frame::popup(ui.style()).inner_margin(18);
        let dialog = Modal::new(Id::unique("forget")).frame(frame).show(ui.ctx(), |ui| {
            ui.set_width(430.0);
            let forget = match self {
                Self::App { id, name } => {
                    ui.heading(format!("Forget {name}?"));
                    ui.add_space(4.0);
                    ui.label(format!("This deletes all records of {name}, from all days and networks."));
                    Some(Forget::App(id.clone()))
                }
                Self::Choice { everything, dates } => {
                    ui.heading("Forget Recorded Usage");
                    ui.add_space(4.0);
                    let choices = [Choice::new(false, "Some Days"), Choice::new(true, "Everything")];
                    ui.horizontal(|ui| choice::radios(ui, "What to forget", everything, &choices));
                    if *everything {
                        ui.label("This deletes all records of all applications.");
                        Some(Forget::Everything)
                    } else {
                        let days = dates.ui(ui);
                        ui.label(
                            "This deletes the records of all applications from the first to the last day, both included.",
                        );
                        days.map(|(first, last)| Forget::Days(first, last))
                    }
                }
            };
            ui.label("This cannot be undone. Counting continues.");
            ui.add_space(8.0);
            ui.horizontal(|ui| {
                let yes = ui.add_enabled(forget.is_some(), Button::new("Forget"));
                let no = ui.button("Cancel");
                if ui.memory(|m| m.focused()).is_none() {
                    no.request_focus();
                }
                let forget = forget.filter(|_| yes.clicked());
                forget.map(|forget| Answer::Yes(Command::Forget(forget))).or(no.clicked().then_some(Answer::No))
            })
            .inner
        });
        let closed = Action::Close.asked(ui) || dialog.backdrop_response.clicked();
        dialog.inner.or(closed.then_some(Answer::No))
    }
}
