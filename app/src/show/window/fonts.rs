//! Fonts of the system for what the built-in ones can't draw: they have Latin, Greek and Cyrillic, and an app may be called
//! 計算機. Found and loaded when such a text is first drawn, so a window without one knows nothing of the system's fonts.
//!
//! Which font it is, fontconfig says. egui shapes each script (so Arabic letters are joined, and Hindi ones in their order), and
//! draws a right-to-left word from right to left; words of both directions in one name it puts in the order of the characters.

use std::sync::{Arc, OnceLock};

use eframe::egui::{
    Context, FontProvider,
    epaint::text::{FallbackRequest, FontInsert},
};
use egui_system_font_provider::SystemFontProvider;

/// Has the context ask for a font of the system's where its own don't do.
pub fn install(ctx: &Context) {
    ctx.set_font_providers(vec![Arc::new(OnDemand::default())]);
}

/// The provider itself lists all fonts when it is made.
#[derive(Default)]
struct OnDemand(OnceLock<SystemFontProvider>);

impl FontProvider for OnDemand {
    fn font_for(&self, request: &FallbackRequest<'_>) -> Option<FontInsert> {
        self.0.get_or_init(SystemFontProvider::new).font_for(request)
    }
}
