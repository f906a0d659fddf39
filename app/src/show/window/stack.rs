//! Several apps, a low chart each, one over the other on one time axis.

use eframe::egui::{Button, Label, Layout, RichText, ScrollArea, Sense, Ui, Vec2, WidgetInfo, accesskit::Role};

use super::{Window, charts::Part, figures, graph::TIMES_HEIGHT, own_apps::colours};
use crate::{look::reading::Reading, show::update::Command};

const HEAD_HEIGHT: f32 = 30.0;
const CHART_MIN_HEIGHT: f32 = 92.0;
const BETWEEN: f32 = 10.0;
/// At the right of it all, for the scroll bar.
const BAR_WIDTH: f32 = 12.0;

/// What was pressed in a chart's head.
struct Pressed {
    stop: bool,
    why: bool,
}

impl Window {
    /// Draws them all; what doesn't fit is scrolled to. Whether somebody wants to know why the figures are what they are.
    #[expect(clippy::cast_precision_loss, reason = "a handful of apps")]
    pub(super) fn stack(&mut self, ui: &mut Ui, readings: &[Reading]) -> bool {
        let height = ui.available_height() - TIMES_HEIGHT;
        let each = (height + BETWEEN) / readings.len() as f32 - BETWEEN;
        let chart_height = each - HEAD_HEIGHT - ui.spacing().item_spacing.y;
        // Where there is something to scroll to, the wheel scrolls.
        let wheel = chart_height >= CHART_MIN_HEIGHT;
        let chart_height = chart_height.max(CHART_MIN_HEIGHT);
        let width = ui.available_width() - BAR_WIDTH;
        let (mut stopped, mut why) = (None, false);
        ScrollArea::vertical().max_height(height).auto_shrink([false, false]).show(ui, |ui| {
            ui.set_max_width(width);
            let pointer = ui.ctx().pointer_hover_pos().filter(|_| ui.rect_contains_pointer(ui.clip_rect()));
            for (at, reading) in readings.iter().enumerate() {
                if at > 0 {
                    ui.add_space(BETWEEN - ui.spacing().item_spacing.y);
                }
                let head = self.head(ui, reading);
                if head.stop {
                    stopped = Some(&reading.id);
                }
                why |= head.why;
                self.graph(ui, reading, chart_height, Part::OfSeveral { pointer, wheel });
            }
            super::keep_focus_in_view(ui, None);
        });
        ui.spacing_mut().item_spacing.y = 0.0;
        ui.set_max_width(width);
        if let Some(reading) = readings.first() {
            self.times(ui, reading);
        }
        if let Some(stopped) = stopped {
            let others = readings.iter().map(|reading| &reading.id).filter(|id| *id != stopped);
            self.send(Command::Watch(others.cloned().collect()));
        }
        why
    }

    /// Name, rates, source, and the button that stops watching.
    fn head(&self, ui: &mut Ui, reading: &Reading) -> Pressed {
        ui.allocate_ui_with_layout(
            [ui.available_width(), HEAD_HEIGHT].into(),
            Layout::right_to_left(eframe::egui::Align::Center),
            |ui| {
                // At the right of the badge, and after it for Tab.
                let (cross, _) = ui.allocate_exact_size(Vec2::splat(HEAD_HEIGHT), Sense::hover());
                let why = figures::badge(ui, reading.source, true);
                let stop = format!("Stop watching {}", reading.app);
                let button =
                    ui.place(cross, Button::new(RichText::new("×").size(20.0)).frame(false)).on_hover_text(&stop);
                button.widget_info(|| WidgetInfo::labeled(Role::Button, true, &stop));
                ui.with_layout(Layout::left_to_right(eframe::egui::Align::Center), |ui| {
                    let name = (ui.available_width() - figures::RATES_WIDTH).clamp(60.0, 190.0);
                    ui.allocate_ui([name, HEAD_HEIGHT].into(), |ui| {
                        ui.set_min_width(name);
                        figures::own_mark(ui, colours::of(&reading.id, &self.settings));
                        ui.add(Label::new(RichText::new(&reading.app).size(16.0).strong()).truncate());
                    });
                    figures::rates_small(ui, reading, &self.settings);
                });
                Pressed { stop: button.clicked(), why }
            },
        )
        .inner
    }
}
