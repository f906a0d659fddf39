//! Paints what egui has laid out, without a GPU: the same pixels on every machine.
#![allow(dead_code, reason = "each test file includes this module and uses its own part of it")]
#![allow(missing_docs, reason = "the names say it")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "test support: a failure is the test's")]
#![allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "pixels")]

use std::{cell::RefCell, collections::HashMap, env, fs, path::PathBuf, rc::Rc};

use eframe::{
    egui::{
        ClippedPrimitive, Color32, ColorImage, ImageData, Rect, TextureId, TexturesDelta,
        epaint::{Mesh, Primitive, Vertex},
    },
    icon_data::{IconDataExt as _, from_png_bytes},
};
use egui_kittest::TestRenderer;

/// The textures that egui has handed out.
#[derive(Clone, Default)]
pub struct Textures(Rc<RefCell<HashMap<TextureId, ColorImage>>>);

impl TestRenderer for Textures {
    fn handle_delta(&mut self, delta: &mut TexturesDelta) {
        let mut textures = self.0.borrow_mut();
        let news = delta.set.drain().flat_map(|(id, news)| news.into_iter().map(move |new| (id, new)));
        for (id, new) in news {
            let ImageData::Color(image) = new.image;
            let Some([left, top]) = new.pos else {
                textures.insert(id, (*image).clone());
                continue;
            };
            let whole = textures.get_mut(&id).expect("a part of a texture that is there");
            for y in 0..image.size[1] {
                for x in 0..image.size[0] {
                    whole[(left + x, top + y)] = image[(x, y)];
                }
            }
        }
        delta.clear();
    }
}

/// A picture of so many pixels.
pub struct Picture {
    width: usize,
    height: usize,
    pixels: Vec<[f32; 4]>,
}

impl Picture {
    /// What is drawn in a part of the screen, one pixel a point.
    pub fn of(primitives: &[ClippedPrimitive], textures: &Textures, part: Rect) -> Self {
        let part = part.round();
        let (width, height) = (part.width() as usize, part.height() as usize);
        let mut picture = Self { width, height, pixels: vec![[0.0, 0.0, 0.0, 255.0]; width * height] };
        let textures = textures.0.borrow();
        for ClippedPrimitive { clip_rect, primitive } in primitives {
            let Primitive::Mesh(mesh) = primitive else { panic!("nothing else is drawn") };
            let mut mesh = mesh.clone();
            mesh.translate(-part.min.to_vec2());
            let clip = clip_rect.intersect(part).translate(-part.min.to_vec2());
            let clip = [clip.min.x, clip.min.y, clip.max.x, clip.max.y].map(|at| at.round().max(0.0) as usize);
            picture.mesh(&mesh, &textures[&mesh.texture_id], clip);
        }
        picture
    }

    fn mesh(&mut self, mesh: &Mesh, texture: &ColorImage, clip: [usize; 4]) {
        for corners in mesh.indices.chunks_exact(3) {
            let [a, b, c] = [0, 1, 2].map(|i| &mesh.vertices[corners[i] as usize]);
            let area = (b.pos.x - a.pos.x) * (c.pos.y - a.pos.y) - (b.pos.y - a.pos.y) * (c.pos.x - a.pos.x);
            if area != 0.0 {
                self.triangle(if area > 0.0 { [a, b, c] } else { [a, c, b] }, area.abs(), texture, clip);
            }
        }
    }

    /// Its corners go round clockwise on a screen; `area` is twice its own.
    fn triangle(&mut self, [a, b, c]: [&Vertex; 3], area: f32, texture: &ColorImage, clip: [usize; 4]) {
        let range = |[a, b, c]: [f32; 3], from: usize, to: usize| {
            (a.min(b).min(c).floor().max(0.0) as usize).max(from)..(a.max(b).max(c).ceil().max(0.0) as usize).min(to)
        };
        let sides = [Side::of(b, c), Side::of(c, a), Side::of(a, b)];
        // Most of what is drawn is of one colour.
        let flat = (a.uv == b.uv && b.uv == c.uv && a.color == b.color && b.color == c.color)
            .then(|| tinted(a.color.to_array().map(f32::from), sample(texture, a.uv.x, a.uv.y)));
        let columns = range([a.pos.x, b.pos.x, c.pos.x], clip[0], clip[2]);
        for y in range([a.pos.y, b.pos.y, c.pos.y], clip[1], clip[3]) {
            for x in columns.clone() {
                let weights = [sides[0].of_pixel(x, y), sides[1].of_pixel(x, y), sides[2].of_pixel(x, y)];
                let [Some(to_a), Some(to_b), Some(to_c)] = weights else { continue };
                let colour = flat.unwrap_or_else(|| {
                    let mix = |a: f32, b: f32, c: f32| (a * to_a + b * to_b + c * to_c) / area;
                    let [p, q, r] = [a, b, c].map(|vertex| vertex.color.to_array().map(f32::from));
                    let texel = sample(texture, mix(a.uv.x, b.uv.x, c.uv.x), mix(a.uv.y, b.uv.y, c.uv.y));
                    tinted(std::array::from_fn(|i| mix(p[i], q[i], r[i])), texel)
                });
                let pixel = &mut self.pixels[y * self.width + x];
                let rest = 1.0 - colour[3] / 255.0;
                *pixel = [0, 1, 2, 3].map(|i| colour[i] + pixel[i] * rest);
            }
        }
    }

    /// Writes it to a file.
    pub fn write(&self, file: &std::path::Path) {
        fs::write(file, self.icon().to_png_bytes().unwrap()).unwrap();
    }

    fn icon(&self) -> eframe::egui::IconData {
        let rgba =
            self.pixels.iter().flat_map(|pixel| pixel.map(|part| part.round().clamp(0.0, 255.0) as u8)).collect();
        eframe::egui::IconData { rgba, width: self.width as u32, height: self.height as u32 }
    }

    /// Compares it with the one that was reviewed. With `UPDATE_SNAPSHOTS=1` it becomes that one.
    pub fn is_as_reviewed(&self, name: &str) {
        let icon = self.icon();
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("../tests/snapshots/{name}.png"));
        if env::var_os("UPDATE_SNAPSHOTS").is_some() {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            return fs::write(&path, icon.to_png_bytes().unwrap()).unwrap();
        }
        let reviewed = from_png_bytes(&fs::read(&path).unwrap_or_default()).unwrap_or_default();
        let differ = |(a, b): (&[u8], &[u8])| a.iter().zip(b).any(|(a, b)| a.abs_diff(*b) > 16);
        let different = icon.rgba.chunks(4).zip(reviewed.rgba.chunks(4)).filter(|pair| differ(*pair)).count();
        let same =
            (icon.width, icon.height) == (reviewed.width, reviewed.height) && different * 2000 < self.pixels.len();
        if !same {
            let new = format!("{}/{}.png", env!("CARGO_TARGET_TMPDIR"), name.replace('/', "-"));
            fs::write(&new, icon.to_png_bytes().unwrap()).unwrap();
            panic!(
                "{different} pixels of {} differ: see {new}, and take it over with UPDATE_SNAPSHOTS=1",
                path.display()
            );
        }
    }
}

/// One side of a triangle: how far a pixel is on the inner side of it.
struct Side {
    across: f32,
    down: f32,
    offset: f32,
    owns: bool,
}

impl Side {
    fn of(from: &Vertex, to: &Vertex) -> Self {
        let (dx, dy) = (to.pos.x - from.pos.x, to.pos.y - from.pos.y);
        // Of two triangles with one side, a pixel on it belongs to one.
        let owns = dy < 0.0 || (dy == 0.0 && dx > 0.0);
        Self { across: -dy, down: dx, offset: dy * from.pos.x - dx * from.pos.y, owns }
    }

    /// `None`: on the outer side.
    fn of_pixel(&self, x: usize, y: usize) -> Option<f32> {
        let weight = self.across * (x as f32 + 0.5) + self.down * (y as f32 + 0.5) + self.offset;
        (weight > 0.0 || (weight == 0.0 && self.owns)).then_some(weight)
    }
}

fn tinted(colour: [f32; 4], texel: [f32; 4]) -> [f32; 4] {
    [0, 1, 2, 3].map(|i| colour[i] * texel[i] / 255.0)
}

/// Between the four nearest.
fn sample(texture: &ColorImage, u: f32, v: f32) -> [f32; 4] {
    let [width, height] = texture.size;
    let (x, y) = (u * width as f32 - 0.5, v * height as f32 - 0.5);
    let (left, top) = (x.floor(), y.floor());
    let at = |x: f32, y: f32| {
        let pixel: Color32 = texture[((x.max(0.0) as usize).min(width - 1), (y.max(0.0) as usize).min(height - 1))];
        pixel.to_array().map(f32::from)
    };
    let (across, down) = (x - left, y - top);
    let corners = [at(left, top), at(left + 1.0, top), at(left, top + 1.0), at(left + 1.0, top + 1.0)];
    let shares = [(1.0 - across) * (1.0 - down), across * (1.0 - down), (1.0 - across) * down, across * down];
    std::array::from_fn(|i| corners.iter().zip(shares).map(|(corner, share)| corner[i] * share).sum())
}
