//! `netglance chart`: the recorded past as a picture, drawn as in the window.

use std::{
    fs,
    io::{self, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::ExitCode,
    str::FromStr,
};

use clap::{Args, ValueHint};
use netglance_dbus::text::brief;

use super::{Error, NOTHING_MATCHES, TargetArgs, recorded::Recorded, when::SpanArgs};
use crate::{
    base::{format::Axis, settings::Unit},
    keep::usage::{By, Slot},
    show::chart::{self, Chart, Colours, What},
};

/// Width and height that a picture may have, in pixels.
const PIXELS: std::ops::RangeInclusive<u32> = 300..=5000;
/// The size by default, for which the labels are so large.
const USUAL: (Size, f64) = (Size { width: 960, height: 400 }, 12.0);
/// Labels stay legible and leave room for the chart.
const TEXT_PIXELS: (f64, f64) = (9.0, 60.0);
/// The longest name above a chart.
const LONGEST_NAME: usize = 80;

#[derive(Debug, Args)]
pub struct ChartArgs {
    #[command(flatten)]
    target: TargetArgs,
    #[command(flatten)]
    span: SpanArgs,
    /// The file, whose name ends in .svg or .png; it is replaced if it exists
    #[arg(short, long, value_name = "FILE", value_parser = picture, value_hint = ValueHint::FilePath)]
    output: PathBuf,
    /// Width and height in pixels
    #[arg(long, value_name = "WIDTHxHEIGHT", default_value = "960x400")]
    size: Size,
    /// Light on dark instead of dark on light
    #[arg(long)]
    dark: bool,
}

#[derive(Clone, Copy, Debug)]
struct Size {
    width: u32,
    height: u32,
}

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |text: &str| text.parse().ok().filter(|pixels| PIXELS.contains(pixels));
        let size = text.split_once(['x', 'X', '×']);
        let size = size.and_then(|(width, height)| Some(Self { width: number(width)?, height: number(height)? }));
        let (least, most) = (PIXELS.start(), PIXELS.end());
        size.ok_or_else(|| format!("not a size such as 960x400; each number has to be from {least} to {most}"))
    }
}

fn picture(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    if is(&path, "svg") || is(&path, "png") { Ok(path) } else { Err("the name has to end in .svg or .png".to_owned()) }
}

fn is(path: &Path, extension: &str) -> bool {
    path.extension().is_some_and(|found| found.eq_ignore_ascii_case(extension))
}

/// Draws the span into the file. Exit status 3 where nothing is recorded of it.
pub fn chart(args: &ChartArgs) -> Result<ExitCode, Error> {
    let recorded = match Recorded::find(&args.target, &args.span)? {
        Ok(recorded) => recorded,
        Err(status) => return Ok(status),
    };
    let now = recorded.now.as_second();
    let from = recorded.span.start.max(recorded.began);
    let every = chart::every(recorded.span.end.min(now) - from, now - from);
    let edges = recorded.edges(every);
    let groups = recorded.store.usage(&edges, &recorded.which, By::All)?;
    let slots = groups.first().map_or(&[][..], |group| &group.slots);
    if slots.iter().all(|slot| slot.is_gap()) {
        recorded.say_nothing();
        return Ok(ExitCode::from(NOTHING_MATCHES));
    }
    let svg = draw(args, &recorded, slots, chart::are_bars(every))?;
    let bytes = if is(&args.output, "svg") { svg.into_bytes() } else { chart::png(&svg)? };
    replace(&args.output, &bytes).map_err(|source| Error::Write { path: args.output.clone(), source })?;
    Ok(ExitCode::SUCCESS)
}

fn draw(args: &ChartArgs, recorded: &Recorded, slots: &[Slot], bars: bool) -> Result<String, Error> {
    let Size { width, height } = args.size;
    let (usual, text_pixels) = USUAL;
    let scale = f64::min(f64::from(width) / f64::from(usual.width), f64::from(height) / f64::from(usual.height));
    let (left, right) = (slots.first().map_or(0, |slot| slot.start), slots.last().map_or(0, |slot| slot.end));
    // A bar has its whole width, even if it isn't over.
    let right = if bars { right } else { right.min(recorded.now.as_second()) };
    let unit = recorded.settings.unit;
    let mut chart = Chart {
        what: if bars { What::Bars(slots) } else { What::Curve(slots) },
        span: (left as f64, right as f64),
        now: recorded.now,
        zone: &recorded.calendar.zone,
        axis: Axis::for_most(0.0, unit),
        unit,
        colours: Colours::new(recorded.settings.colours, args.dark),
        text_pixels: (text_pixels * scale).clamp(TEXT_PIXELS.0, TEXT_PIXELS.1),
        times: true,
        limit: None,
    };
    chart.axis = Axis::for_most(chart.most(), if bars { Unit::Bytes } else { unit });
    let name = brief(&recorded.name, LONGEST_NAME);
    chart::svg(&[(&name, chart)], width, height)
        .map_err(|error| Error::io("draw the chart")(io::Error::other(error.to_string())))
}

/// Writes the whole file or nothing. Where there was one, it keeps its permissions; a link stays one.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let before = fs::metadata(&path).ok().map(|before| before.permissions());
    let permissions = before.unwrap_or_else(|| fs::Permissions::from_mode(0o666));
    let mut new = tempfile::Builder::new().prefix(".netglance-").permissions(permissions).tempfile_in(directory)?;
    new.write_all(bytes)?;
    new.persist(&path)?;
    Ok(())
}
