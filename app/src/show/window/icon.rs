//! The icon of an app: its own, or a plain one where it has none or none that can be drawn, so that the names of a list stand in
//! one line.

use std::path::Path;

use eframe::egui::{Image, ImageSource, Ui, Vec2, include_image};

/// Points, each way.
const SIDE: f32 = 18.0;
const PLAIN: ImageSource<'static> = include_image!("../../../../icons/application.svg");

/// The app's icon, as large as one line of text. `file`: the one that it has itself.
pub fn app_icon(ui: &Ui, file: Option<&Path>) -> Image<'static> {
    let sized = |image: Image<'static>| image.fit_to_exact_size(Vec2::splat(SIDE)).show_loading_spinner(false);
    let own = file.map(|path| sized(Image::new(format!("file://{}", path.display()))));
    let is_drawn = |image: &Image<'_>| image.load_for_size(ui.ctx(), Vec2::splat(SIDE)).is_ok();
    // The plain one is drawn in white.
    own.filter(is_drawn).unwrap_or_else(|| sized(Image::new(PLAIN)).tint(ui.visuals().weak_text_color()))
}
