//! How the window looks: colours, spacing, text sizes; dark and light. It knows no content.

use eframe::egui::{
    Color32, Context, CornerRadius, FontFamily, FontId, Margin, Stroke, Style, TextStyle, Theme, ThemePreference, Ui,
    Vec2, Visuals, style::ScrollAnimation,
};
use plotters::style::RGBColor;

use crate::{
    base::settings::{self, Settings},
    show::chart::Colours,
};

/// Sets the theme that is wished for; `light`: the desktop's is light. Nothing moves by itself: no animation, no blinking cursor, hence no repaint of its own.
pub fn apply(ctx: &Context, settings: &Settings, light: bool) {
    // winit knows no desktop's theme on Linux.
    ctx.set_theme(match settings.theme {
        settings::Theme::System if light => ThemePreference::Light,
        settings::Theme::System => ThemePreference::Dark,
        settings::Theme::Dark => ThemePreference::Dark,
        settings::Theme::Light => ThemePreference::Light,
    });
    ctx.all_styles_mut(|style| {
        style.animation_time = 0.0;
        style.scroll_animation = ScrollAnimation::none();
        style.spacing.item_spacing = Vec2::new(8.0, 6.0);
        style.spacing.button_padding = Vec2::new(10.0, 5.0);
        style.spacing.interact_size.y = 26.0;
        // A bar that is seen says that there is more.
        style.spacing.scroll.dormant_handle_opacity = 0.5;
        style.text_styles = [
            (TextStyle::Small, 12.0),
            (TextStyle::Body, 14.0),
            (TextStyle::Button, 14.0),
            (TextStyle::Monospace, 13.0),
            (TextStyle::Heading, 22.0),
        ]
        .map(|(name, size)| {
            let family = if name == TextStyle::Monospace { FontFamily::Monospace } else { FontFamily::Proportional };
            (name, FontId::new(size, family))
        })
        .into();
    });
    ctx.style_mut_of(Theme::Dark, |style| {
        style.visuals = Visuals::dark();
        style.visuals.error_fg_color = Color32::from_rgb(255, 125, 115);
        paint(
            style,
            Colours::new(settings.colours, true),
            Color32::from_rgb(19, 22, 27),
            Color32::from_rgb(38, 43, 51),
            Color32::from_rgb(228, 232, 238),
        );
    });
    ctx.style_mut_of(Theme::Light, |style| {
        style.visuals = Visuals::light();
        style.visuals.error_fg_color = Color32::from_rgb(185, 25, 25);
        style.visuals.warn_fg_color = Color32::from_rgb(150, 75, 0);
        paint(
            style,
            Colours::new(settings.colours, false),
            Color32::from_rgb(243, 245, 248),
            Color32::from_rgb(227, 231, 237),
            Color32::from_rgb(28, 33, 40),
        );
    });
}

fn paint(style: &mut Style, chart: Colours, around: Color32, button: Color32, text: Color32) {
    let visuals = &mut style.visuals;
    visuals.text_cursor.blink = false;
    visuals.panel_fill = colour(chart.background);
    visuals.window_fill = colour(chart.background);
    visuals.faint_bg_color = around;
    visuals.extreme_bg_color = around;
    visuals.override_text_color = Some(text);
    visuals.weak_text_color = Some(colour(chart.text));
    visuals.hyperlink_color = colour(chart.download);
    visuals.selection.bg_fill = colour(chart.download).gamma_multiply(0.35);
    visuals.selection.stroke = Stroke::new(1.5, colour(chart.download));
    let widgets = &mut visuals.widgets;
    for state in [
        &mut widgets.noninteractive,
        &mut widgets.inactive,
        &mut widgets.hovered,
        &mut widgets.active,
        &mut widgets.open,
    ] {
        state.corner_radius = CornerRadius::same(6);
        state.expansion = 0.0;
    }
    widgets.inactive.weak_bg_fill = button;
    widgets.inactive.bg_fill = button;
    // What has the focus is told by its frame; its text stays as easy to read.
    widgets.active.weak_bg_fill = button;
    widgets.active.bg_fill = button;
    widgets.inactive.bg_stroke = Stroke::new(1.0, colour(chart.grid));
    widgets.noninteractive.bg_stroke = Stroke::new(1.0, colour(chart.grid));
    style.spacing.window_margin = Margin::same(12);
}

/// The chart's colours in this theme.
pub fn colours(ui: &Ui, settings: &Settings) -> Colours {
    Colours::new(settings.colours, ui.visuals().dark_mode)
}

/// A colour of the chart in egui's words.
pub fn colour(colour: RGBColor) -> Color32 {
    Color32::from_rgb(colour.0, colour.1, colour.2)
}
