//! What the applications menu starts so that it can be counted, and the way back.

use eframe::egui::{Align, Layout, RichText, Ui, WidgetInfo, accesskit::Role, vec2};

use crate::show::update::{Command, Launcher, Update};

const ROW_HEIGHT: f32 = 24.0;
const NAME_WIDTH: f32 = 350.0;

/// Draws the list. What is wished.
pub fn ui(ui: &mut Ui, update: &Update) -> Option<Command> {
    ui.label(
        "Some desktops start all programs in one cgroup, the login session, so that only their sum can be counted. These \
         programs are started in cgroups of their own instead, and counted as applications. It takes effect at the next start.",
    );
    if update.launchers.is_empty() {
        let how = "None yet. In the list of all applications, click a program below a login session to add it here.";
        ui.label(RichText::new(how).weak());
        return None;
    }
    let mut wish = None;
    for launcher in &update.launchers {
        if row(ui, launcher) {
            wish = Some(Command::StartCounted(launcher.id.clone(), false));
        }
    }
    ui.label(
        RichText::new("Each has a desktop entry in ~/.local/share/applications, which also works without netglance.")
            .small()
            .weak(),
    );
    wish
}

fn row(ui: &mut Ui, launcher: &Launcher) -> bool {
    ui.horizontal(|ui| {
        ui.allocate_ui_with_layout(vec2(NAME_WIDTH, ROW_HEIGHT), Layout::left_to_right(Align::Center), |ui| {
            ui.set_min_width(NAME_WIDTH);
            ui.add_space(8.0);
            let label = ui.label(&launcher.name);
            label.on_hover_text(format!("{}.desktop", launcher.id));
        });
        let button = ui.button("Start as Before");
        button.widget_info(|| WidgetInfo::labeled(Role::Button, true, format!("Start {} as before", launcher.name)));
        let hint = if launcher.is_own {
            "Your own desktop entry comes back as it was"
        } else {
            "The desktop entry of the system is used again"
        };
        button.on_hover_text(hint).clicked()
    })
    .inner
}
