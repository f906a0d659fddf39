//! A picture of pixels, made of the SVG document. Its texts are in the font of the window, and in one of the system's fonts where
//! that has no letter for them.

use std::sync::Arc;

use eframe::egui::FontDefinitions;
use resvg::{
    tiny_skia::{Pixmap, Transform},
    usvg::{self, fontdb},
};

/// Why there is no picture.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The document.
    #[error("the chart can't be read")]
    Svg(#[from] usvg::Error),
    /// A width or height of 0, or one that is too large.
    #[error("the picture has no pixels, or too many")]
    Size,
    /// The file's bytes.
    #[error("the picture can't be packed: {0}")]
    Png(String),
}

/// The bytes of a PNG file that shows an SVG document, each of its units as one pixel.
pub fn png(svg: &str) -> Result<Vec<u8>, Error> {
    let options = usvg::Options { fontdb: Arc::new(fonts(svg)), ..usvg::Options::default() };
    let tree = usvg::Tree::from_str(svg, &options)?;
    let size = tree.size().to_int_size();
    let mut pixels = Pixmap::new(size.width(), size.height()).ok_or(Error::Size)?;
    resvg::render(&tree, Transform::identity(), &mut pixels.as_mut());
    pixels.encode_png().map_err(|error| Error::Png(error.to_string()))
}

/// The window's fonts, and the system's if there are letters that need more.
fn fonts(text: &str) -> fontdb::Database {
    let mut fonts = fontdb::Database::new();
    let window = FontDefinitions::default();
    let name = window.families.get(&eframe::egui::FontFamily::Proportional).and_then(|names| names.first());
    if let Some(font) = name.and_then(|name| window.font_data.get(name)) {
        fonts.load_font_source(fontdb::Source::Binary(font.font.clone()));
    }
    let family = fonts.faces().next().and_then(|face| face.families.first()).map(|(family, _)| family.clone());
    if !text.is_ascii() {
        fonts.load_system_fonts();
    }
    // The system may have another idea of it.
    if let Some(family) = family {
        fonts.set_sans_serif_family(family);
    }
    fonts
}
