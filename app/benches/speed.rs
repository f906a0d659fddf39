//! What netglance costs: `cargo bench` prints one table. Needs root (cgroups of its own) and Xvfb, as the
//! tests do, and openbox, which can minimise a window.
//!
//! CPU times are of this thread or of the whole measured process, not of the clock on the wall. Figures of one run may
//! be compared with each other.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a benchmark stops at the first surprise")]
#![allow(clippy::cast_precision_loss, reason = "figures for people")]

use std::{
    fs,
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use eframe::egui;
use netglance::{
    chart::{self, Chart},
    format::Axis,
    history::Point,
    rate::Rate,
    sampler::InetDiag,
    settings::Unit,
    window::plot::Plot,
};
use netglance_dbus::{cgroup::Tree, scope::Prefixes};
use plotters::drawing::IntoDrawingArea;
use rustix::{
    process::{Resource, Rlimit, getrlimit, setrlimit},
    time::{ClockId, clock_gettime},
};

fn main() {
    // 10,000 sockets are held at once.
    let files = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: files.maximum, ..files }).unwrap();
    println!("| what | figure |\n|---|---|");
    for (sockets, cgroups) in [(1000, 1), (1000, 100), (1000, 1000), (10_000, 1), (10_000, 100), (10_000, 1000)] {
        look(sockets, cgroups);
    }
    for (width, height) in [(600, 300), (1600, 800)] {
        draw(width, height);
    }
    first_figure();
    watch();
    window();
}

fn row(what: &str, figure: &str) {
    println!("| {what} | {figure} |");
}

/// CPU time of this thread for each of `times` calls.
fn cpu_ms(times: u32, mut call: impl FnMut()) -> f64 {
    let now = || {
        let t = clock_gettime(ClockId::ThreadCPUTime);
        t.tv_sec as f64 * 1e3 + t.tv_nsec as f64 / 1e6
    };
    call();
    let start = now();
    (0..times).for_each(|_| call());
    (now() - start) / f64::from(times)
}

/// Removes its cgroups, also when something fails.
struct Cgroups(PathBuf);

impl Drop for Cgroups {
    fn drop(&mut self) {
        fs::write(self.0.parent().unwrap().join("cgroup.procs"), std::process::id().to_string()).unwrap();
        for entry in fs::read_dir(&self.0).unwrap().flatten().filter(|e| e.path().is_dir()) {
            fs::remove_dir(entry.path()).unwrap();
        }
        fs::remove_dir(&self.0).unwrap();
    }
}

fn look(sockets: usize, cgroups: usize) {
    let tree = Tree::open().unwrap();
    let top = Cgroups(tree.mount().join(format!("ngbench-{}", std::process::id())));
    fs::create_dir(&top.0).expect("needs root: run it with sudo");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut held = Vec::new();
    for i in 0..cgroups {
        let cgroup = top.0.join(i.to_string());
        fs::create_dir(&cgroup).unwrap();
        fs::write(cgroup.join("cgroup.procs"), std::process::id().to_string()).unwrap();
        for _ in 0..(sockets / cgroups).div_ceil(2) {
            let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            held.push((client, listener.accept().unwrap()));
        }
    }
    let mut tree = Tree::open().unwrap();
    let prefixes = Prefixes::default();
    let mut sampler = InetDiag::open().unwrap();
    let ms = cpu_ms(50, || {
        tree.refresh();
        sampler.look(&tree, &prefixes).unwrap();
    });
    row(&format!("one look, {} sockets in {cgroups} cgroups", held.len() * 2), &format!("{ms:.2} ms of CPU"));
}

fn draw(width: u32, height: u32) {
    let points: Vec<Point> = (0..1200_u64)
        .map(|i| {
            let wave = (i as f64 / 30.0).sin() + 1.1;
            Point { boottime_ns: i * 500_000_000, rate: Some(Rate { rx: wave * 1e6, tx: wave * 2e5 }) }
        })
        .collect();
    let zone = jiff::tz::TimeZone::UTC;
    let chart = Chart {
        points: &points,
        now_ns: 600_000_000_000,
        now: jiff::Timestamp::UNIX_EPOCH,
        zone: &zone,
        span_secs: 600,
        axis: Axis::for_most(2.1e6, Unit::Bytes),
        unit: Unit::Bytes,
        colours: chart::DARK,
        times: true,
        text_pixels: 12.0,
    };
    let ctx = egui::Context::default();
    let size = egui::vec2(width as f32, height as f32);
    let ms = cpu_ms(100, || {
        let output = ctx.run_ui(egui::RawInput::default(), |ui| {
            let rect = egui::Rect::from_min_size(egui::Pos2::ZERO, size);
            let painter = ui.painter().with_clip_rect(rect);
            chart::draw(&Plot::new(&painter, rect).into_drawing_area(), &chart).unwrap();
        });
        assert!(!ctx.tessellate(output.shapes, 1.0).is_empty());
    });
    row(&format!("draw and tessellate 1,200 points at {width}x{height}"), &format!("{ms:.2} ms of CPU"));
}

const PROGRAM: &str = env!("CARGO_BIN_EXE_netglance");
const BEAT: Duration = Duration::from_millis(500);

fn first_figure() {
    let mut beats: Vec<f64> = (0..7)
        .map(|_| {
            let start = Instant::now();
            let out = Command::new(PROGRAM).args(["watch", "--json", "--count", "1"]).output().unwrap();
            assert!(out.status.success() && out.stdout.starts_with(b"{"));
            start.elapsed().as_secs_f64() / BEAT.as_secs_f64()
        })
        .collect();
    beats.sort_by(f64::total_cmp);
    row("start of `watch` to first figure, median of 7", &format!("{:.2} beats", beats[3]));
}

/// A program that ends with the benchmark.
struct Running(Child);

impl Running {
    fn start(program: &str, args: &[&str], display: &str) -> Self {
        let mut command = Command::new(program);
        command.args(args).env("DISPLAY", display).env_remove("WAYLAND_DISPLAY");
        Self(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect(program))
    }

    /// User and system time so far, in seconds: fields 14 and 15 of /proc/PID/stat, in hundredths.
    fn cpu_secs(&self) -> f64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.0.id())).unwrap();
        let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
        fields[11..13].iter().map(|f| f.parse::<f64>().unwrap()).sum::<f64>() / 100.0
    }

    fn cost(&self, what: &str) {
        sleep(Duration::from_secs(2));
        let before = self.cpu_secs();
        sleep(Duration::from_secs(20));
        let percent = (self.cpu_secs() - before) / 20.0 * 100.0;
        let status = fs::read_to_string(Path::new("/proc").join(self.0.id().to_string()).join("status")).unwrap();
        let rss_kb: f64 = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:")?.split_whitespace().next()?.parse().ok())
            .unwrap();
        row(what, &format!("{percent:.2} % of a core, {:.1} MB resident", rss_kb / 1000.0 * 1.024));
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

fn watch() {
    Running::start(PROGRAM, &["watch", "--json"], "").cost("`watch` at the 0.5 s beat");
}

fn window() {
    let display = format!(":{}", 200 + std::process::id() % 700);
    let _server = Running::start("Xvfb", &[&display, "-screen", "0", "1000x700x24", "-nolisten", "tcp"], "");
    let ask = |program: &str, args: &[&str]| {
        let out =
            Command::new(program).args(args).env("DISPLAY", &display).stderr(Stdio::null()).output().expect(program);
        String::from_utf8_lossy(&out.stdout).trim().to_owned()
    };
    while ask("xdpyinfo", &[]).is_empty() {
        sleep(Duration::from_millis(20));
    }
    let _manager = Running::start("openbox", &[], &display);
    let start = Instant::now();
    let window = Running::start(PROGRAM, &[], &display);
    let mut id = String::new();
    while id.is_empty() {
        id = ask("xdotool", &["search", "--onlyvisible", "--name", "^netglance$"]);
    }
    while ask("import", &["-window", &id, "-format", "%k", "info:-"]).parse().is_ok_and(|colours: u32| colours < 16) {}
    let ms = start.elapsed().as_secs_f64() * 1e3;
    row("start to first painted frame, looked for by screenshots", &format!("at most {ms:.0} ms"));
    window.cost("window visible, software renderer");
    ask("xdotool", &["windowminimize", "--sync", &id]);
    window.cost("window minimised");
}
