//! What the tables of applications have in common: each row is a button, and the arrow keys go from one to the next.

use std::ops::Range;

use eframe::egui::{Color32, FocusDirection, Id, Key, Popup, Response, Stroke, StrokeKind, Ui};

/// Of a row.
pub const ROW_HEIGHT: f32 = 28.0;

/// Where to scroll to, so that a row is seen whole; `None`: it is. `seen`: the part of the rows that was drawn, from the first
/// one's top.
#[expect(clippy::cast_precision_loss, reason = "some hundred rows")]
pub fn offset_for(at: usize, seen: &Range<f32>) -> Option<f32> {
    let top = at as f32 * ROW_HEIGHT;
    let below = top + ROW_HEIGHT - (seen.end - seen.start);
    if top < seen.start { Some(top) } else { Some(below).filter(|below| *below > seen.start) }
}

/// Up and down go from row to row, and from a text field into them. Where to, if they did. `id`: of a row that can have the
/// focus.
pub fn step(ui: &Ui, rows: usize, id: impl Fn(usize) -> Option<Id>) -> Option<usize> {
    if Popup::is_any_open(ui.ctx()) {
        return None; // the keys are the menu's
    }
    let focused = ui.memory(|m| m.focused());
    let at = (0..rows).find(|at| focused.is_some() && id(*at) == focused);
    let pressed = |key| ui.input(|i| i.key_pressed(key) && i.modifiers.is_none());
    let (down, up) = (pressed(Key::ArrowDown), pressed(Key::ArrowUp));
    let takes_focus = |at: &usize| id(*at).is_some();
    let at = match at {
        Some(at) if down => (at + 1..rows).find(takes_focus),
        Some(at) if up => (0..at).rev().find(takes_focus),
        None if down && (focused.is_none() || ui.ctx().text_edit_focused()) => (0..rows).find(takes_focus),
        _ => None,
    }?;
    if let Some(id) = id(at) {
        ui.memory_mut(|m| {
            m.request_focus(id);
            m.move_focus(FocusDirection::None); // egui would go on to the next one
        });
        ui.ctx().request_repaint();
    }
    Some(at)
}

/// What is behind a row's figures: stripes, the pointer, the focus.
pub fn background(ui: &Ui, row: &Response, at: usize) {
    let fill = match (row.hovered(), at % 2) {
        (true, _) => ui.style().interact(row).weak_bg_fill,
        (_, 0) => ui.visuals().faint_bg_color,
        _ => Color32::TRANSPARENT,
    };
    let border = if row.has_focus() { ui.visuals().selection.stroke } else { Stroke::NONE };
    ui.painter().rect(row.rect, 4.0, fill, border, StrokeKind::Inside);
}
