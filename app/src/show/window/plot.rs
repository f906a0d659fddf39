//! plotters on an egui painter: lines and text are egui's, so they are crisp at every scale. It knows no chart.

use std::convert::Infallible;

use eframe::egui::{Align2, Color32, CornerRadius, FontId, Painter, Pos2, Rect, Shape, Stroke, StrokeKind, pos2};
use plotters_backend::{
    BackendColor, BackendCoord, BackendStyle, BackendTextStyle, DrawingBackend, DrawingErrorKind,
    text_anchor::{HPos, VPos},
};

/// One rectangle of a window, in physical pixels from its upper left corner.
pub struct Plot<'a> {
    painter: &'a Painter,
    rect: Rect,
    pixels_per_point: f32,
}

type Drawn = Result<(), DrawingErrorKind<Infallible>>;

impl<'a> Plot<'a> {
    /// Draws into `rect` of `painter`.
    pub fn new(painter: &'a Painter, rect: Rect) -> Self {
        Self { painter, rect, pixels_per_point: painter.pixels_per_point() }
    }

    #[expect(clippy::cast_precision_loss, reason = "a place on a screen")]
    fn point(&self, (x, y): BackendCoord) -> Pos2 {
        self.rect.min + pos2(x as f32, y as f32).to_vec2() / self.pixels_per_point
    }

    /// The middle of a pixel, for lines one pixel wide.
    fn centre(&self, at: BackendCoord) -> Pos2 {
        self.point(at) + (pos2(0.5, 0.5).to_vec2() / self.pixels_per_point)
    }

    #[expect(clippy::cast_precision_loss, reason = "a few pixels")]
    fn stroke(&self, style: &impl BackendStyle) -> Stroke {
        Stroke::new(style.stroke_width() as f32 / self.pixels_per_point.min(1.0), colour(style.color()))
    }

    #[expect(clippy::cast_possible_truncation, reason = "a font's size")]
    fn font(&self, style: &impl BackendTextStyle) -> FontId {
        FontId::proportional(style.size() as f32 / self.pixels_per_point)
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 255")]
fn colour(colour: BackendColor) -> Color32 {
    let (r, g, b) = colour.rgb;
    Color32::from_rgba_unmultiplied(r, g, b, (colour.alpha.clamp(0.0, 1.0) * 255.0).round() as u8)
}

impl DrawingBackend for Plot<'_> {
    type ErrorType = Infallible;

    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a window's size")]
    fn get_size(&self) -> (u32, u32) {
        let size = self.rect.size() * self.pixels_per_point;
        (size.x.round() as u32, size.y.round() as u32)
    }

    fn ensure_prepared(&mut self) -> Drawn {
        Ok(())
    }

    fn present(&mut self) -> Drawn {
        Ok(())
    }

    fn draw_pixel(&mut self, at: BackendCoord, color: BackendColor) -> Drawn {
        self.draw_rect(at, (at.0 + 1, at.1 + 1), &color, true)
    }

    fn draw_line<S: BackendStyle>(&mut self, from: BackendCoord, to: BackendCoord, style: &S) -> Drawn {
        self.painter.line_segment([self.centre(from), self.centre(to)], self.stroke(style));
        Ok(())
    }

    fn draw_rect<S: BackendStyle>(&mut self, from: BackendCoord, to: BackendCoord, style: &S, fill: bool) -> Drawn {
        let rect = Rect::from_two_pos(self.point(from), self.point(to));
        if fill {
            self.painter.rect_filled(rect, CornerRadius::ZERO, colour(style.color()));
        } else {
            self.painter.rect_stroke(rect, CornerRadius::ZERO, self.stroke(style), StrokeKind::Middle);
        }
        Ok(())
    }

    fn draw_path<S: BackendStyle, I: IntoIterator<Item = BackendCoord>>(&mut self, path: I, style: &S) -> Drawn {
        let points = path.into_iter().map(|at| self.centre(at)).collect();
        self.painter.line(points, self.stroke(style));
        Ok(())
    }

    fn fill_polygon<S: BackendStyle, I: IntoIterator<Item = BackendCoord>>(&mut self, vert: I, style: &S) -> Drawn {
        let points = vert.into_iter().map(|at| self.point(at)).collect();
        self.painter.add(Shape::convex_polygon(points, colour(style.color()), Stroke::NONE));
        Ok(())
    }

    fn draw_text<S: BackendTextStyle>(&mut self, text: &str, style: &S, at: BackendCoord) -> Drawn {
        let anchor = style.anchor();
        let align = match (anchor.h_pos, anchor.v_pos) {
            (HPos::Left, VPos::Top) => Align2::LEFT_TOP,
            (HPos::Left, VPos::Center) => Align2::LEFT_CENTER,
            (HPos::Left, VPos::Bottom) => Align2::LEFT_BOTTOM,
            (HPos::Center, VPos::Top) => Align2::CENTER_TOP,
            (HPos::Center, VPos::Center) => Align2::CENTER_CENTER,
            (HPos::Center, VPos::Bottom) => Align2::CENTER_BOTTOM,
            (HPos::Right, VPos::Top) => Align2::RIGHT_TOP,
            (HPos::Right, VPos::Center) => Align2::RIGHT_CENTER,
            (HPos::Right, VPos::Bottom) => Align2::RIGHT_BOTTOM,
        };
        self.painter.text(self.point(at), align, text, self.font(style), colour(style.color()));
        Ok(())
    }

    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a text's size")]
    fn estimate_text_size<S: BackendTextStyle>(
        &self,
        text: &str,
        style: &S,
    ) -> Result<(u32, u32), DrawingErrorKind<Infallible>> {
        let galley = self.painter.layout_no_wrap(text.to_owned(), self.font(style), Color32::WHITE);
        let size = galley.size() * self.pixels_per_point;
        Ok((size.x.ceil() as u32, size.y.ceil() as u32))
    }
}
