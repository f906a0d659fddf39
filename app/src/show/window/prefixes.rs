//! Which addresses stay inside: the person's own lists, checked while they are typed, and the whole table, explained.

use std::net::IpAddr;

use eframe::egui::{
    Align, Button, Color32, Key, Label, Layout, RichText, Stroke, TextEdit, TextStyle, Ui, WidgetInfo, accesskit::Role,
};
use egui_extras::{Column, TableBuilder};
use ipnet::IpNet;
use netglance_dbus::scope::{Origin, Prefix, Prefixes, Scope, Verdict};

use crate::{
    base::settings::{self, Settings},
    look::sampler::Exact,
    show::update::Update,
};

/// What was typed and is not in force yet.
#[derive(Debug, Default)]
pub struct PrefixLists {
    internal: Typed,
    external: Typed,
    search: String,
}

/// The text in a list's field.
#[derive(Debug, Default)]
struct Typed {
    text: String,
    /// The person is done with it: what is wrong with it may be said.
    done: bool,
}

const ROW_HEIGHT: f32 = 24.0;
/// So many rows are shown of a table that is longer.
const ROWS_SHOWN: usize = 200;
/// Holds the longest prefix.
const FIELD_WIDTH: f32 = 350.0;
const ORIGIN_WIDTH: f32 = 168.0;
const SCOPE_WIDTH: f32 = 70.0;
/// An IPv4 prefix needs less.
const PREFIX_MIN_WIDTH: f32 = 120.0;

impl PrefixLists {
    /// Draws both lists and the table, and takes what is added or removed into `settings`.
    pub fn ui(&mut self, ui: &mut Ui, update: &Update, settings: &mut Settings) {
        ui.label(
            "Only traffic with external addresses is counted. Addresses of this computer, of its own networks and of private \
             networks are internal. The most specific prefix that contains an address decides. You can add your own prefixes. The \
             Connections page shows which prefix decides for each remote.",
        );
        if update.exact == Exact::Counting {
            ui.label(
                RichText::new(
                    "Exact counting uses these lists for all users of this computer, so a change needs an administrator's password.",
                )
                .weak(),
            );
        }
        let table = Prefixes::new(&update.host_prefixes, &settings.internal, &settings.external);
        let Settings { internal, external, .. } = settings;
        list(ui, "Also treat as internal", "internal", &mut self.internal, internal, external, &table);
        list(ui, "Always treat as external", "external", &mut self.external, external, internal, &table);
        self.table(ui, &table);
    }

    fn table(&mut self, ui: &mut Ui, table: &Prefixes) {
        ui.add_space(10.0);
        let title = ui.label(RichText::new("All prefixes").strong());
        let hint = "Search for a prefix, a name or an RFC, or enter an address to look it up";
        let search = TextEdit::singleline(&mut self.search).hint_text(hint).desired_width(f32::INFINITY);
        ui.add(search).labelled_by(title.id);
        let wanted = self.search.trim().to_lowercase();
        let address: Option<IpAddr> = wanted.parse().ok();
        if let Some(address) = address {
            let verdict = table.judge(address);
            ui.label(format!("{address} is {}.", judged(&verdict)));
        }
        let found = |prefix: &&Prefix| match address {
            Some(address) => prefix.net.contains(&address),
            None => texts(prefix).iter().any(|text| text.to_lowercase().contains(&wanted)),
        };
        let mut rows: Vec<&Prefix> = table.entries().filter(found).collect();
        // The host's and the person's own first, then in the order of addresses, IPv4 before IPv6.
        rows.sort_by_key(|prefix| (matches!(prefix.origin, Origin::Builtin(..)), prefix.net));
        if rows.is_empty() {
            ui.label(RichText::new("No prefix matches. Such an address is external.").weak());
            return;
        }
        let more = rows.len().saturating_sub(ROWS_SHOWN);
        rows.truncate(ROWS_SHOWN);
        // Wide enough for the longest: an IPv6 address that ends in dots says nothing.
        let font = TextStyle::Body.resolve(ui.style());
        let width = |text: String| ui.painter().layout_no_wrap(text, font.clone(), Color32::PLACEHOLDER).size().x;
        let widest = rows.iter().map(|prefix| width(prefix.net.to_string())).fold(PREFIX_MIN_WIDTH, f32::max);
        // The page scrolls, and the table with it.
        TableBuilder::new(ui)
            .striped(true)
            .vscroll(false)
            .cell_layout(Layout::left_to_right(Align::Center))
            .column(Column::exact(widest.ceil()))
            .column(Column::remainder().at_least(120.0).clip(true))
            .column(Column::exact(ORIGIN_WIDTH).clip(true))
            .column(Column::exact(SCOPE_WIDTH))
            .header(ROW_HEIGHT - 2.0, |mut header| {
                for title in ["Prefix", "Meaning", "Source", "Counts As"] {
                    header.col(|ui| _ = ui.label(RichText::new(title).small().weak()));
                }
            })
            .body(|body| {
                body.rows(ROW_HEIGHT, rows.len(), |mut row| {
                    let Some(prefix) = rows.get(row.index()) else { return };
                    for text in texts(prefix) {
                        row.col(|ui| _ = ui.add(Label::new(&text).truncate()));
                    }
                });
            });
        if more > 0 {
            ui.label(RichText::new(format!("{more} more: search to find them.")).weak());
        }
    }
}

/// A verdict as the end of a sentence.
fn judged(verdict: &Verdict) -> String {
    let why = verdict.prefix.map_or("no prefix contains it".to_owned(), |prefix| prefix.to_string());
    format!("{}: {why}", scope(verdict.scope).to_lowercase())
}

fn scope(scope: Scope) -> &'static str {
    match scope {
        Scope::Internal => "Internal",
        Scope::External => "External",
    }
}

fn texts(prefix: &Prefix) -> [String; 4] {
    let (name, who) = match prefix.origin {
        Origin::Builtin(name, rfc) => (name, rfc),
        Origin::Host => ("This computer or its network", "Routing table"),
        Origin::User => ("Added by you", "These settings"),
    };
    [prefix.net.to_string(), name.to_owned(), who.to_owned(), scope(prefix.scope).to_owned()]
}

/// One of the person's own lists with a line to add to it. `other`: the list in which nothing of this one may stand.
fn list(
    ui: &mut Ui,
    title: &str,
    scope_name: &str,
    typed: &mut Typed,
    nets: &mut Vec<IpNet>,
    other: &[IpNet],
    table: &Prefixes,
) {
    ui.add_space(10.0);
    let title = ui.label(RichText::new(title).strong());
    let mut removed = None;
    for net in nets.iter() {
        ui.horizontal(|ui| {
            ui.allocate_ui([FIELD_WIDTH, ROW_HEIGHT].into(), |ui| {
                ui.set_min_width(FIELD_WIDTH);
                ui.add_space(8.0);
                ui.label(RichText::new(net.to_string()).monospace());
            });
            let button = ui.button("Remove");
            let label = format!("Remove {net} from the {scope_name} addresses");
            button.widget_info(|| WidgetInfo::labeled(Role::Button, true, &label));
            if button.clicked() {
                removed = Some(*net);
            }
        });
    }
    nets.retain(|net| Some(*net) != removed);
    let checked = check(&typed.text, nets, other);
    let wrong = match &checked {
        Some(Err(wrong)) if typed.done || !may_become_a_prefix(&typed.text) => Some(wrong),
        _ => None,
    };
    ui.horizontal(|ui| {
        let hint = "203.0.114.0/24, 2001:db8::/32, or an address";
        let field = ui
            .scope(|ui| {
                if wrong.is_some() {
                    frame_in(ui, ui.visuals().error_fg_color);
                }
                ui.add(TextEdit::singleline(&mut typed.text).hint_text(hint).desired_width(FIELD_WIDTH))
            })
            .inner
            .labelled_by(title.id);
        typed.done = (typed.done || field.lost_focus()) && !field.changed();
        let entered = field.lost_focus() && ui.input(|i| i.key_pressed(Key::Enter));
        let good = matches!(checked, Some(Ok(_)));
        let button = ui.add_enabled(good, Button::new("Add"));
        button.widget_info(|| WidgetInfo::labeled(Role::Button, good, format!("Add to the {scope_name} addresses")));
        if let Some(Ok(net)) = &checked
            && (entered || button.clicked())
        {
            nets.push(*net);
            *typed = Typed::default();
            field.request_focus();
        } else if entered {
            field.request_focus(); // to be mended
        }
    });
    match (&checked, wrong) {
        (_, Some(wrong)) => _ = ui.label(RichText::new(wrong).color(ui.visuals().error_fg_color)),
        (Some(Ok(net)), _) if !typed.text.is_empty() => {
            let verdict = table.judge(net.addr());
            ui.label(RichText::new(format!("{} is currently {}.", net.addr(), judged(&verdict))).weak());
        }
        _ => {}
    }
}

/// Whether more typing can make a prefix of it.
fn may_become_a_prefix(typed: &str) -> bool {
    let (address, length) = typed.trim().split_once('/').unwrap_or((typed.trim(), ""));
    let address_only = |c: char| c.is_ascii_hexdigit() || matches!(c, '.' | ':');
    address.chars().all(address_only) && length.chars().all(|c| c.is_ascii_digit())
}

/// Draws a field's frame in this colour, with the focus and without it.
pub(super) fn frame_in(ui: &mut Ui, colour: Color32) {
    let visuals = ui.visuals_mut();
    visuals.selection.stroke.color = colour;
    let widgets = &mut visuals.widgets;
    for state in [&mut widgets.inactive, &mut widgets.hovered, &mut widgets.active] {
        state.bg_stroke = Stroke::new(1.0, colour);
    }
}

/// The prefix that was typed, or what is wrong with it; `None`: nothing was typed.
fn check(typed: &str, nets: &[IpNet], other: &[IpNet]) -> Option<Result<IpNet, String>> {
    let typed = typed.trim();
    if typed.is_empty() {
        return None;
    }
    Some(match settings::prefix(typed) {
        Err(reason) => Err(format!("{reason}.").replace("?.", "?")),
        Ok(net) if nets.contains(&net) => Err(format!("{net} is already in this list.")),
        Ok(net) if other.contains(&net) => Err(format!("{net} is in the other list. Remove it there first.")),
        Ok(net) => Ok(net),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_hopeless_text_is_called_wrong_while_it_is_typed() {
        for typed in ["1", "10.", "10.1.0.0/", "10.1.0.0/8", "fe8", "2001:db8::", "::", " 10.0.0.0/1"] {
            assert!(may_become_a_prefix(typed), "{typed}");
        }
        for typed in ["lan", "10.0.0.0/x", "10.0.0.0-9", "10.0.0.0/8/8", "fe80::1%eth0"] {
            assert!(!may_become_a_prefix(typed), "{typed}");
        }
    }
}
