//! Which addresses stay inside: the person's own lists, checked while they are typed, and the whole table, explained.

use std::net::IpAddr;

use eframe::egui::{Align, Button, Key, Label, Layout, RichText, TextEdit, Ui};
use egui_extras::{Column, TableBuilder};
use ipnet::IpNet;
use netglance_dbus::scope::{Origin, Prefix, Prefixes, Scope};

use crate::{
    base::settings::{self, Settings},
    look::sampler::Exact,
    show::update::Update,
};

/// What was typed and is not in force yet.
#[derive(Debug, Default)]
pub struct PrefixLists {
    internal: String,
    external: String,
    search: String,
}

const ROW_HEIGHT: f32 = 24.0;
const TABLE_HEIGHT: f32 = 260.0;
const FIELD_WIDTH: f32 = 300.0;

impl PrefixLists {
    /// Draws both lists and the table, and takes what is added or removed into `settings`.
    pub fn ui(&mut self, ui: &mut Ui, update: &Update, settings: &mut Settings) {
        ui.label(
            "netglance counts what leaves for the outside world. Left out is what stays on this computer, in your own networks \
             and in private ones; the longest prefix that matches an address decides. What you add here comes on top.",
        );
        if update.exact == Exact::Counting {
            ui.label(
                RichText::new(
                    "While counting is exact these lists hold for all users of this computer: a change asks for a password.",
                )
                .weak(),
            );
        }
        let table = Prefixes::new(&update.host_prefixes, &settings.internal, &settings.external);
        let Settings { internal, external, .. } = settings;
        list(ui, "Left out besides", "internal", &mut self.internal, internal, external, &table);
        list(ui, "Counted all the same", "external", &mut self.external, external, internal, &table);
        self.table(ui, &table);
    }

    fn table(&mut self, ui: &mut Ui, table: &Prefixes) {
        ui.add_space(10.0);
        let title = ui.label(RichText::new("The whole table").strong());
        let hint = "Search: a prefix, a name, an RFC, or an address to see what decides it";
        let search = TextEdit::singleline(&mut self.search).hint_text(hint).desired_width(f32::INFINITY);
        ui.add(search).labelled_by(title.id);
        let wanted = self.search.trim().to_lowercase();
        let address: Option<IpAddr> = wanted.parse().ok();
        if let Some(address) = address {
            let verdict = table.judge(address);
            let why = verdict.prefix.map_or("no prefix matches".to_owned(), |prefix| prefix.to_string());
            ui.label(format!("{address} is {}: {why}.", scope(verdict.scope).to_lowercase()));
        }
        let found = |prefix: &&Prefix| match address {
            Some(address) => prefix.net.contains(&address),
            None => texts(prefix).iter().any(|text| text.to_lowercase().contains(&wanted)),
        };
        let mut rows: Vec<&Prefix> = table.entries().filter(found).collect();
        // The host's and the person's own first, then in the order of addresses, IPv4 before IPv6.
        rows.sort_by_key(|prefix| (matches!(prefix.origin, Origin::Builtin(..)), prefix.net));
        if rows.is_empty() {
            ui.label(RichText::new("Nothing in the table matches: such an address is external.").weak());
            return;
        }
        TableBuilder::new(ui)
            .striped(true)
            .max_scroll_height(TABLE_HEIGHT)
            .auto_shrink([false, true])
            .cell_layout(Layout::left_to_right(Align::Center))
            .column(Column::exact(170.0))
            .column(Column::remainder().at_least(120.0).clip(true))
            .column(Column::exact(190.0).clip(true))
            .column(Column::exact(80.0))
            .header(ROW_HEIGHT - 2.0, |mut header| {
                for title in ["Prefix", "What it is", "Says who", "Counts as"] {
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
    }
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
        Origin::Host => ("This computer, or its own networks", "The routing table"),
        Origin::User => ("Your own", "These settings"),
    };
    [prefix.net.to_string(), name.to_owned(), who.to_owned(), scope(prefix.scope).to_owned()]
}

/// One of the person's own lists with a line to add to it. `other`: the list in which nothing of this one may stand.
fn list(
    ui: &mut Ui,
    title: &str,
    scope_name: &str,
    typed: &mut String,
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
            button.widget_info(|| {
                let label = format!("Remove {net} from what is {scope_name}");
                eframe::egui::WidgetInfo::labeled(eframe::egui::accesskit::Role::Button, true, label)
            });
            if button.clicked() {
                removed = Some(*net);
            }
        });
    }
    nets.retain(|net| Some(*net) != removed);
    let checked = check(typed, nets, other);
    ui.horizontal(|ui| {
        let hint = "203.0.114.0/24, 2001:db8::/32, an address";
        let field =
            ui.add(TextEdit::singleline(typed).hint_text(hint).desired_width(FIELD_WIDTH)).labelled_by(title.id);
        let entered = field.lost_focus() && ui.input(|i| i.key_pressed(Key::Enter));
        let good = matches!(checked, Some(Ok(_)));
        let button = ui.add_enabled(good, Button::new("Add"));
        button.widget_info(|| {
            let label = format!("Add to what is {scope_name}");
            eframe::egui::WidgetInfo::labeled(eframe::egui::accesskit::Role::Button, good, label)
        });
        if let Some(Ok(net)) = &checked
            && (entered || button.clicked())
        {
            nets.push(*net);
            typed.clear();
            field.request_focus();
        }
    });
    match checked {
        Some(Err(sentence)) => _ = ui.label(RichText::new(sentence).color(ui.visuals().error_fg_color)),
        Some(Ok(net)) if !typed.is_empty() => {
            let verdict = table.judge(net.addr());
            let why = verdict.prefix.map_or("no prefix matches".to_owned(), |prefix| prefix.to_string());
            let now = format!("So far {} is {}: {why}.", net.addr(), scope(verdict.scope).to_lowercase());
            ui.label(RichText::new(now).weak());
        }
        _ => {}
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
        Ok(net) if nets.contains(&net) => Err(format!("{net} is in this list already.")),
        Ok(net) if other.contains(&net) => Err(format!("{net} is in the other list; remove it there first.")),
        Ok(net) => Ok(net),
    })
}
