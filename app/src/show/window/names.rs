//! Where the names of remotes come from: what is asked, and who learns of it. It asks nobody itself.

use eframe::egui::{Button, RichText, Ui};

use super::{bars::WAITING, settings_page::checkbox};
use crate::{
    base::{format, settings::Settings},
    look::whois::{Sources, queries::Queries},
    show::update::Command,
};

/// What turning on reverse DNS means.
const REVERSE_DNS: &str = "Sends the addresses shown under Connections to your DNS server. A name is whatever the owner of the address has \
     chosen; it is not verified.";
/// What following the queries means.
const QUERIES: &str = "systemd-resolved can tell netglance which names this computer looks up, so that each address is shown with the name \
     that led to it. netglance then sees the lookups of all programs and users of this computer, not only of the apps that you watch. \
     This needs an administrator's password and ends when netglance quits. Names are kept in memory only.";

/// Draws the choices, takes what is chosen into `settings` and gives a wish beside them.
pub fn ui(ui: &mut Ui, sources: &Sources, settings: &mut Settings) -> Option<Command> {
    checkbox(ui, &mut settings.reverse_dns, "Look up host names (reverse DNS)");
    ui.label(RichText::new(REVERSE_DNS).small().weak());
    let wish = queries(ui, &sources.queries);
    ui.add_space(6.0);
    files(ui, sources, settings.geoip.as_deref());
    wish
}

/// Nothing where they can't be followed.
fn queries(ui: &mut Ui, queries: &Queries) -> Option<Command> {
    if *queries == Queries::Unavailable {
        return None;
    }
    ui.add_space(6.0);
    let mut wish = None;
    match queries {
        Queries::Unavailable => {}
        Queries::Available | Queries::Failed(_) => {
            ui.label(RichText::new(QUERIES).small().weak());
            if let Queries::Failed(why) = queries {
                let wrong = ui.visuals().error_fg_color;
                ui.colored_label(wrong, format::sentence(&format!("Cannot follow this computer's lookups: {why}")));
            }
            if ui.add(Button::new("Follow Lookups…")).clicked() {
                wish = Some(Command::FollowQueries(true));
            }
        }
        Queries::Asking => {
            ui.label(WAITING);
            if ui.button("Cancel").on_hover_text("Don't follow this computer's lookups").clicked() {
                wish = Some(Command::FollowQueries(false));
            }
        }
        Queries::Followed => {
            ui.label("Addresses are shown with the names that this computer looks up, until netglance quits.");
            if ui.button("Stop Following Lookups").clicked() {
                wish = Some(Command::FollowQueries(false));
            }
        }
    }
    wish
}

/// Which files tell country and network, or where they would be.
fn files(ui: &mut Ui, sources: &Sources, setting: Option<&[String]>) {
    if setting.is_some_and(<[_]>::is_empty) {
        ui.label("Countries and networks are not shown, because the settings file says geoip = [].");
    } else if sources.files.is_empty() {
        ui.label("Countries and networks are not shown, because no file in MaxMind's format (.mmdb) was found.");
        let places = sources.places.join(", ");
        let text = format!(
            "netglance looks for country, city and ASN files in {places}. It downloads nothing. To use other files, set geoip in the settings file."
        );
        ui.label(RichText::new(text).small().weak());
    } else {
        ui.label("Countries and networks come from these files on this computer:");
        for file in &sources.files {
            ui.horizontal_wrapped(|ui| {
                ui.label(&file.path);
                if let Some(problem) = &file.problem {
                    let wrong = ui.visuals().error_fg_color;
                    ui.colored_label(wrong, format::sentence(&format!("Not used: {problem}")));
                }
            });
        }
    }
}
