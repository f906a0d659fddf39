//! What netglance costs: `cargo bench` prints one table. Needs root (cgroups of its own) and Xvfb, as the
//! tests do, and openbox, which can minimise a window. `cargo bench --bench speed -- desktop` runs the desktop's part alone,
//! `-- history` that of what is recorded and `-- scrape` that of the metrics, which need neither, `-- programs` that of the programs
//! of a session.
//!
//! CPU times are of this thread or of the whole measured process, not of the clock on the wall. Figures of one run may
//! be compared with each other.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a benchmark stops at the first surprise")]
#![allow(clippy::cast_precision_loss, reason = "figures for people")]

use std::{
    collections::HashSet,
    fs,
    io::{BufRead as _, BufReader},
    net::{Ipv4Addr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread::sleep,
    time::{Duration, Instant},
};

use eframe::egui;
use netglance::{
    base::{
        format::Axis,
        settings::{Settings, Unit},
    },
    keep::{
        history::Point,
        store::{Batch, Counters as Counted, Moved, STEP_SECS, Store},
        usage::{By, Which},
    },
    look::{
        apps::Apps,
        programs::{App, Chosen, Programs},
        rate::{Bytes, Rate},
        sampler::{InetDiag, Look, Source},
        target::Unit as AppUnit,
    },
    metrics::{
        series::{Series, Whose},
        text::{Format, Page, compress},
    },
    show::{
        chart::{self, Chart},
        window::plot::Plot,
    },
};
use netglance_dbus::{
    cgroup::Tree,
    forwarded::ForwardedSample,
    helper1::{BUS_NAME, Counters, Error, Helper1, OBJECT_PATH, WirePrefix},
    remote::{Remote, Remotes},
    sample::{Last, Row, Sample},
    scope::Prefixes,
};
use plotters::drawing::IntoDrawingArea;
use rustix::{
    process::{Resource, Rlimit, getrlimit, setrlimit},
    time::{ClockId, clock_gettime},
};
use x11rb::{
    connection::Connection as _,
    protocol::xproto::{ConnectionExt as _, ImageFormat},
    rust_connection::RustConnection,
};
use zbus::{connection::Builder, message::Header};

fn main() {
    // 10,000 sockets are held at once.
    let files = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: files.maximum, ..files }).unwrap();
    println!("| what | figure |\n|---|---|");
    let only = |part: &str| std::env::args().any(|argument| argument == part);
    if only("desktop") {
        return desktop();
    }
    if only("programs") {
        return [100, 1000].into_iter().for_each(programs);
    }
    if only("history") {
        return history();
    }
    if only("scrape") {
        return scrape();
    }
    for (sockets, cgroups) in [(1000, 1), (1000, 100), (1000, 1000), (10_000, 1), (10_000, 100), (10_000, 1000)] {
        look(sockets, cgroups);
    }
    for sockets in [100, 1000] {
        programs(sockets);
    }
    for (width, height) in [(600, 300), (1600, 800)] {
        draw(width, height);
    }
    scrape();
    first_figure();
    watch();
    history();
    desktop();
}

/// From a look at 1,000 units that have all moved something to the compressed text for Prometheus.
fn scrape() {
    let apps = Apps::new(&Settings::default());
    let names: Vec<_> =
        (0..1000).map(|number| format!("/system.slice/a-service-with-a-name-of-40-ch-{number:04}.service")).collect();
    let live: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut series = Series::default();
    let mut moved = 0;
    let mut take = |series: &mut Series| {
        moved += 1_234_567;
        let row = |(name, number): (&String, u64)| Row {
            cgroup: name.clone(),
            rx_bytes: moved * (number + 1),
            tx_bytes: moved + number,
            internal_rx_bytes: moved,
            internal_tx_bytes: number,
        };
        let rows = names.iter().zip(0..).map(row).collect();
        let sample = Sample { epoch: 1, boottime_ns: 1, rows };
        let look = Look { source: Source::Exact, sample, unmeasured_udp: None, forwarded: false };
        series.take(&look, &apps, |_| Whose::System, &live, &[]);
    };
    take(&mut series);
    let page = |series: &Series| {
        Arc::new(Page {
            series: series.all(),
            source: Source::Exact,
            epoch_secs: Some(1.0),
            gaps: [0; 4],
            unmeasured_udp: None,
            warns: false,
            over: 0,
            budgets: Vec::new(),
        })
    };
    let (mut plain, mut packed) = (String::new(), Vec::new());
    let counting = cpu_ms(100, || take(&mut series));
    let writing = cpu_ms(100, || plain = page(&series).encode(Format::Text).unwrap());
    let packing = cpu_ms(100, || packed = compress(&plain).unwrap());
    row("A scrape of 1,000 units: taking in a look", &format!("{counting:.2} ms CPU"));
    row("… writing the text", &format!("{writing:.2} ms CPU, {} bytes", plain.len()));
    row("… compressing it", &format!("{packing:.2} ms CPU, {} bytes", packed.len()));
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

/// A session whose programs somebody looks at, in which one process has these sockets and 100 others have none.
fn programs(sockets: usize) {
    let tree = Tree::open().unwrap();
    let top = Cgroups(tree.mount().join(format!("ngbench-{}", std::process::id())));
    let session = top.0.join("session");
    fs::create_dir_all(&session).expect("needs root: run it with sudo");
    fs::write(session.join("cgroup.procs"), std::process::id().to_string()).unwrap();
    let mut others: Vec<Child> = (0..100).map(|_| Command::new("sleep").arg("600").spawn().unwrap()).collect();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let connect = || {
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (client, listener.accept().unwrap())
    };
    let mut held: Vec<_> = (0..sockets / 2).map(|_| connect()).collect();
    let mut tree = Tree::open().unwrap();
    let prefixes = Prefixes::default();
    let mut estimate = InetDiag::open().unwrap();
    estimate.tell_sockets_apart(true);
    let cgroup = format!("/ngbench-{}/session", std::process::id());
    let cgroup = tree.paths().find(|path| path.ends_with(&cgroup)).unwrap();
    let (cgroups, mut seen) = ([cgroup], Programs::default());
    let chosen = Chosen { apps: vec!["session-1".to_owned()], ..Chosen::default() };
    let mut look = || {
        tree.refresh();
        estimate.look(&tree, &prefixes).unwrap();
        let app = App { id: "session-1", cgroups: &cgroups, total: [0; 2], latest: [0; 2] };
        assert!(seen.look(&[app], &chosen, |cgroup| tree.directory(cgroup)));
        seen.take(&estimate.take_sockets(), |_| Some("session-1".to_owned()));
        seen.descriptors()
    };
    (0..20).for_each(|_| _ = look());
    let quiet = cpu_ms(50, || _ = look());
    let mut descriptors = 0;
    let busy = cpu_ms(50, || {
        held.push(connect());
        descriptors = look();
    });
    let what = format!("one look by program, {sockets} sockets, 101 processes");
    row(
        &what,
        &format!("{quiet:.2} ms of CPU; with a new connection {busy:.2} ms, {descriptors} descriptors looked at"),
    );
    for other in &mut others {
        other.kill().unwrap();
        other.wait().unwrap();
    }
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
        what: chart::What::Points { points: &points, now_ns: 600_000_000_000 },
        span: (-600.0, 0.0),
        now: jiff::Timestamp::UNIX_EPOCH,
        zone: &zone,
        axis: Axis::for_most(2.1e6, Unit::Bytes),
        unit: Unit::Bytes,
        colours: chart::DARK,
        times: true,
        text_pixels: 12.0,
        limit: None,
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

    /// CPU time so far of the process and of its window's, in seconds: first field of /proc/PID/task/TID/schedstat.
    fn cpu_secs(&self) -> f64 {
        let threads = self.processes().into_iter().flat_map(|pid| fs::read_dir(format!("/proc/{pid}/task")).unwrap());
        let read = |path: PathBuf| fs::read_to_string(path.join("schedstat")).ok();
        let ns = |stat: String| stat.split_whitespace().next().unwrap().parse::<f64>().unwrap();
        threads.flatten().filter_map(|thread| read(thread.path())).map(ns).sum::<f64>() / 1e9
    }

    fn processes(&self) -> Vec<u32> {
        let own = self.0.id();
        let children = fs::read_to_string(format!("/proc/{own}/task/{own}/children")).unwrap();
        [own].into_iter().chain(children.split_whitespace().map(|pid| pid.parse().unwrap())).collect()
    }

    /// Resident, in MB: of the process, then of its window's.
    fn resident(&self) -> Vec<f64> {
        let of = |pid: u32| {
            let status = fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("status")).unwrap();
            let kb = |line: &str| line.strip_prefix("VmRSS:")?.split_whitespace().next()?.parse::<f64>().ok();
            status.lines().find_map(kb).unwrap() * 1.024e-3
        };
        self.processes().into_iter().map(of).collect()
    }

    /// Share of a core over 20 seconds, in per cent.
    fn percent(&self) -> f64 {
        sleep(Duration::from_secs(2));
        let before = self.cpu_secs();
        sleep(Duration::from_secs(20));
        (self.cpu_secs() - before) / 20.0 * 100.0
    }

    fn cost(&self, what: &str) {
        let percent = self.percent();
        let resident: Vec<_> = self.resident().iter().map(|mb| format!("{mb:.1}")).collect();
        row(what, &format!("{percent:.2} % of a core, {} MB resident", resident.join(" + ")));
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

const HOUR_SECS: i64 = 3600;
const DAY_SECS: i64 = 24 * HOUR_SECS;
/// A day of the world's clock begins.
const FIRST: i64 = 1_700_006_400;

/// A history, and the time that its clock shows.
struct Recorded {
    directory: tempfile::TempDir,
    store: Store,
    now: i64,
}

impl Recorded {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (store, _) = Store::open(&directory.path().join("history.db")).unwrap();
        Self { directory, store, now: FIRST }
    }

    /// Records an hour in so many steps, in which the chosen ones of so many apps move between 0.1 and 3 MB a minute each.
    fn hour(&mut self, steps: i64, apps: u32, is_busy: impl Fn(u32) -> bool) {
        let secs = HOUR_SECS / steps;
        for end in (1..=steps).map(|step| self.now + step * secs) {
            let some = |app: u32, most: u64| {
                let chance = ((u64::from(app) << 40) ^ end.unsigned_abs()).wrapping_mul(0x9e37_79b9_7f4a_7c15);
                (most / 30 + (chance >> 32) % most) * secs.unsigned_abs() / 60
            };
            let bytes = |app| Bytes { rx: some(app, 3_000_000), tx: some(app, 150_000), ..Bytes::default() };
            let moved = (0..apps).filter(|app| is_busy(*app)).map(|app| moved(app, bytes(app))).collect();
            let batch = Batch { start: end - STEP_SECS, end, looked: end - secs, moved, ..Batch::default() };
            self.store.record(&batch).unwrap();
        }
        self.now += HOUR_SECS;
        while self.store.pack_hours(self.now, &jiff::tz::TimeZone::UTC).unwrap() {}
        self.store.drop_old(self.now, u64::MAX).unwrap();
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("history.db")
    }

    /// Of the file, with what of it is still in the journal.
    fn bytes(&self) -> u64 {
        let db = rusqlite::Connection::open(self.path()).unwrap();
        let pragma = |name: &str| db.query_row(&format!("PRAGMA {name}"), [], |row| row.get::<_, i64>(0)).unwrap();
        (pragma("page_count") * pragma("page_size")).unsigned_abs()
    }

    fn megabytes(&self) -> f64 {
        self.bytes() as f64 / 1e6
    }
}

fn moved(app: u32, bytes: Bytes) -> Moved {
    let name = format!("app-bench{app}");
    let cgroup = format!("/user.slice/user-1000.slice/user@1000.service/app.slice/{name}-*.scope");
    let unit = AppUnit { app: name.clone(), unit: format!("{name}-*.scope"), cgroup: cgroup.clone() };
    Moved { cgroup, unit, bytes }
}

/// Milliseconds on the wall's clock: these calls wait for a disk.
fn wall_ms(call: impl FnOnce()) -> f64 {
    let start = Instant::now();
    call();
    start.elapsed().as_secs_f64() * 1e3
}

/// Median and largest for each of `times` calls.
fn walls_ms(times: u32, mut call: impl FnMut()) -> String {
    let mut took: Vec<f64> = (0..times).map(|_| wall_ms(&mut call)).collect();
    took.sort_by(f64::total_cmp);
    format!("median {:.2} ms, at most {:.2} ms", took[took.len() / 2], took[took.len() - 1])
}

fn history() {
    flush();
    growth();
    years();
}

/// 10 seconds at a time, with the helper's counters.
fn flush() {
    for apps in [50, 200] {
        let mut recorded = Recorded::new();
        let mut step: u32 = 0;
        let written = walls_ms(720, || {
            step += 1;
            let end = FIRST + i64::from(step) * STEP_SECS;
            let moved: Vec<_> = (0..apps).map(|app| moved(app, Bytes { rx: 250_000, ..Bytes::default() })).collect();
            let total = |row: &Moved| Moved { bytes: row.bytes.map(|bytes| bytes * u64::from(step)), ..row.clone() };
            let rows = moved.iter().map(total).collect();
            let (boottime_ns, all) = (u64::from(step), step == 1);
            let counters = Counted { epoch: 1, begun: false, boottime_ns, rows, all };
            let (start, counters) = (end - STEP_SECS, Some(counters));
            let batch = Batch { start, end, looked: start, moved, counters, ..Batch::default() };
            recorded.store.record(&batch).unwrap();
        });
        row(&format!("record 10 s of {apps} apps that all move"), &written);
        let later = FIRST + 3 * HOUR_SECS;
        let packed = wall_ms(|| assert!(recorded.store.pack_hours(later, &jiff::tz::TimeZone::UTC).unwrap()));
        row(&format!("pack an hour of {apps} apps that all move"), &format!("{packed:.1} ms"));
    }
}

/// Minutes alone but for the last day and a half: that is what stays.
fn growth() {
    let mut recorded = Recorded::new();
    let mut days = vec![0.0];
    for hour in 0..40 * 24 {
        recorded.hour(if hour < 38 * 24 { 60 } else { 360 }, 50, |_| true);
        if (hour + 1) % 24 == 0 {
            days.push(recorded.megabytes());
        }
    }
    let of_day = |from: usize, to: usize| (days[to] - days[from]) / (to - from) as f64;
    row("growth by 50 apps that always move, a day of the first 31", &format!("{:.3} MB", of_day(2, 31)));
    row("the same, a day after them", &format!("{:.3} MB", of_day(33, 38)));
    row("file of them after 40 days, the last day in steps of 10 s", &format!("{:.1} MB", days[40]));
}

/// 100 apps, each busy in three hours of ten: three years of hours, of which 31 days are minutes and the last is steps.
fn years() {
    const DAYS: i64 = 3 * 365;
    let mut recorded = Recorded::new();
    for hour in 0..DAYS * 24 {
        let steps = match DAYS * 24 - hour {
            ..26 => 360,
            26..768 => 60,
            _ => 1,
        };
        let chance = |app: u32| (hour * 7919 + i64::from(app) * 104_729).unsigned_abs() * 2_654_435_761 / 65_536 % 10;
        recorded.hour(steps, 100, |app| chance(app) < 3);
    }
    let now = recorded.now;
    let file = format!("{:.1} MB", recorded.megabytes());
    row("file of three years, 100 apps, each busy 30 % of the hours", &file);
    let path = recorded.path();
    let days = |count: i64| (0..=count).map(|day| now - (count - day) * DAY_SECS).collect::<Vec<_>>();
    let one = Which { apps: vec!["app-bench7".to_owned()], ..Which::default() };
    for (what, edges, which, by) in [
        ("usage of 30 days of each of 100 apps", vec![now - 30 * DAY_SECS, now], Which::default(), By::App),
        ("usage of 30 days by network", vec![now - 30 * DAY_SECS, now], Which::default(), By::Network),
        ("usage of today of each of 100 apps", vec![now - DAY_SECS, now], Which::default(), By::App),
        ("a year of days of one app", days(365), one, By::App),
        ("a year of days of all apps together", days(365), Which::default(), By::All),
        ("three years of days of all apps together", days(DAYS), Which::default(), By::All),
    ] {
        let store = Store::read(&path).unwrap().unwrap();
        let read = walls_ms(11, || assert!(!store.usage(&edges, &which, by).unwrap().is_empty()));
        row(what, &read);
    }
    let Recorded { directory, store, now } = recorded;
    drop(store);
    let mut store = None;
    let opened = wall_ms(|| store = Some(Store::open(&path).unwrap().0));
    row("open and check the file of three years", &format!("{opened:.0} ms"));
    let mut recorded = Recorded { directory, store: store.unwrap(), now };
    let (bytes, before) = (recorded.bytes(), recorded.megabytes());
    let limit = wall_ms(|| assert!(recorded.store.drop_old(now, bytes / 6 * 5).unwrap()));
    let journal = fs::metadata(path.with_extension("db-wal")).unwrap().len() as f64 / 1e6;
    let what = format!("{before:.1} MB down to {:.1} MB at the limit", recorded.megabytes());
    row(&what, &format!("{limit:.0} ms, journal {journal:.1} MB"));
}

/// What is on the whole screen.
struct Screen {
    connection: RustConnection,
    root: u32,
}

impl Screen {
    /// The middle has more colours than the bare screen: something is painted there.
    fn is_painted(&self) -> bool {
        let all = !0;
        let image = self.connection.get_image(ImageFormat::Z_PIXMAP, self.root, 300, 200, 400, 300, all).unwrap();
        let image = image.reply().unwrap();
        image.data.chunks_exact(4).collect::<HashSet<_>>().len() > 8
    }

    fn until(&self, painted: bool) {
        while self.is_painted() != painted {
            sleep(Duration::from_millis(1));
        }
    }
}

/// A panel without a face.
struct Watcher(Arc<Mutex<Option<String>>>);

#[zbus::interface(name = "org.kde.StatusNotifierWatcher")]
impl Watcher {
    fn register_status_notifier_item(&self, service: String) {
        *self.0.lock().unwrap() = Some(service);
    }

    #[zbus(property)]
    fn is_status_notifier_host_registered(&self) -> bool {
        true
    }
}

fn boottime_ns() -> u64 {
    let now = clock_gettime(ClockId::Boottime);
    u64::try_from(now.tv_sec).unwrap() * 1_000_000_000 + u64::try_from(now.tv_nsec).unwrap()
}

/// A helper that counts: 200 apps, of which 50, StB among them, move as fast as it is told.
struct Helper {
    stb: String,
    bytes_per_read: Arc<AtomicU64>,
    bytes: AtomicU64,
    /// Calls for remotes.
    asked: Arc<AtomicU64>,
}

impl Counters for Helper {
    async fn install(&self, _: &Header<'_>) -> Result<(), Error> {
        Ok(())
    }
    async fn install_anyway(&self, _: &Header<'_>) -> Result<(), Error> {
        Ok(())
    }
    async fn uninstall(&self, _: &Header<'_>) -> Result<(), Error> {
        Ok(())
    }
    async fn read(&self, call: &Header<'_>) -> Result<Sample, Error> {
        self.read_all(call).await
    }
    async fn read_all(&self, _: &Header<'_>) -> Result<Sample, Error> {
        // Never the same height twice, so that the picture changes with each beat.
        let step = self.bytes_per_read.load(Ordering::Relaxed);
        let before = self.bytes.fetch_add(step, Ordering::Relaxed);
        let bytes = if (before / step.max(1)).is_multiple_of(2) { before } else { before + step / 2 };
        let row = |cgroup: String| Row { cgroup, rx_bytes: bytes, tx_bytes: bytes / 9, ..Row::default() };
        let app = |i| format!("/user.slice/user-0.slice/user@0.service/app.slice/app-bench{i}-{i}.scope");
        let mut rows: Vec<_> = (1..50).map(|i| row(app(i))).collect();
        rows.extend((50..200).map(|i| Row { cgroup: app(i), ..Row::default() }));
        rows.push(row(self.stb.clone()));
        Ok(Sample { epoch: 1, boottime_ns: boottime_ns(), rows })
    }
    async fn read_last(&self, _: &Header<'_>) -> Result<Last, Error> {
        Ok(Last::default())
    }
    async fn read_forwarded(&self, _: &Header<'_>) -> Result<ForwardedSample, Error> {
        Ok(ForwardedSample::default())
    }
    /// A thousand, all of which move at each call.
    async fn read_remotes(&self, _: &Header<'_>, _: &[String]) -> Result<Remotes, Error> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let bytes = self.bytes.load(Ordering::Relaxed);
        let row = |i: u32| Remote {
            cgroup: self.stb.clone(),
            address: Ipv4Addr::from_bits(0x5DB8_0000 + i * 7).into(),
            port: 443,
            protocol: 6,
            rx_bytes: bytes / 1000 + u64::from(i),
            tx_bytes: bytes / 9000,
        };
        let rows = (0..1000).map(row).collect();
        Ok(Remotes { epoch: 1, boottime_ns: boottime_ns(), is_complete: true, rows })
    }

    async fn set_prefixes(&self, _: &Header<'_>, _: &[WirePrefix], _: &[WirePrefix]) -> Result<(), Error> {
        Ok(())
    }
    async fn installed(&self) -> bool {
        true
    }
    async fn warning(&self) -> String {
        String::new()
    }
    async fn internal_prefixes(&self) -> Vec<WirePrefix> {
        Vec::new()
    }
}

/// A desktop without anybody at it: display, window manager, and a bus for both kinds.
fn desktop() {
    let home = tempfile::tempdir().unwrap();
    let mut server = Command::new("Xvfb");
    server.args(["-displayfd", "1", "-screen", "0", "1000x700x24", "-nolisten", "tcp", "-noreset"]);
    let mut server = Running(server.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("Xvfb"));
    let mut bus = Command::new("dbus-daemon");
    bus.args(["--session", "--nofork", "--print-address"]).stdout(Stdio::piped());
    let mut bus = Running(bus.spawn().expect("dbus-daemon"));
    let first_line = |child: &mut Child| {
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        line.trim().to_owned()
    };
    let display = format!(":{}", first_line(&mut server.0));
    let address = first_line(&mut bus.0);
    let _manager = Running::start("openbox", &[], &display);

    let tree = Tree::open().unwrap();
    let top = tree.mount().join(format!("ngbench-{}", std::process::id()));
    fs::create_dir(&top).expect("needs root: run it with sudo");
    let stb = top.join("stb-next-shell@split.service");
    let _cgroups = Cgroups(top);
    fs::create_dir(&stb).unwrap();
    let stb = format!("/{}", stb.strip_prefix(tree.mount()).unwrap().display());

    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let item = Arc::default();
    let bytes_per_read = Arc::new(AtomicU64::new(0));
    let asked = Arc::new(AtomicU64::new(0));
    let helper =
        Helper { stb, bytes_per_read: Arc::clone(&bytes_per_read), bytes: 0.into(), asked: Arc::clone(&asked) };
    let connection = runtime.block_on(async {
        let connection = Builder::address(address.as_str())
            .serve_at("/StatusNotifierWatcher", Watcher(Arc::clone(&item)))
            .serve_at(OBJECT_PATH, Helper1(helper));
        let connection = connection.build().await.unwrap();
        connection.request_name("org.kde.StatusNotifierWatcher").await.unwrap();
        connection.request_name(BUS_NAME).await.unwrap();
        connection
    });
    let start = |arguments: &[&str]| {
        let mut command = Command::new(PROGRAM);
        command.args(arguments).env("DISPLAY", &display).env_remove("WAYLAND_DISPLAY").env("HOME", home.path());
        command.env("DBUS_SESSION_BUS_ADDRESS", &address).env("DBUS_SYSTEM_BUS_ADDRESS", &address);
        for variable in ["XDG_CONFIG_HOME", "XDG_STATE_HOME"] {
            command.env(variable, home.path());
        }
        Running(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect(PROGRAM))
    };
    let (x11, number) = x11rb::connect(Some(&display)).unwrap();
    let screen = Screen { root: x11.setup().roots[number].root, connection: x11 };

    let program = start(&["--hidden"]);
    while item.lock().unwrap().is_none() {
        sleep(Duration::from_millis(5));
    }
    let still = program.percent();
    program.cost("hidden, exact, tray on, nothing moves");
    bytes_per_read.store(1_000_000, Ordering::Relaxed);
    let moving = program.percent();
    program.cost("hidden, exact, tray on, a new icon each beat");
    let beats_per_sec = 1.0 / BEAT.as_secs_f64();
    row("a new icon and tooltip", &format!("{:.2} ms of CPU", (moving - still) / 100.0 / beats_per_sec * 1e3));

    let item = item.lock().unwrap().clone().unwrap();
    let click = || {
        let call = connection.call_method(
            Some(item.as_str()),
            "/StatusNotifierItem",
            Some("org.kde.StatusNotifierItem"),
            "Activate",
            &(0, 0),
        );
        runtime.block_on(call).unwrap();
    };
    let mut shows = Vec::new();
    let mut resident = Vec::new();
    for _ in 0..20 {
        let began = Instant::now();
        click();
        screen.until(true);
        shows.push(began.elapsed().as_secs_f64() * 1e3);
        click();
        screen.until(false);
        sleep(Duration::from_millis(200));
        resident.push(program.resident()[0]);
    }
    let first = shows[0];
    shows.sort_by(f64::total_cmp);
    row(
        "click to first painted frame, software renderer",
        &format!("{first:.0} ms the first time, then median {:.0}, at most {:.0} ms", shows[10], shows[19]),
    );
    let [first, .., last] = resident[..] else { panic!("20 cycles") };
    row("resident, hidden, after the first cycle and after the 20th", &format!("{first:.1} and {last:.1} MB"));
    click();
    screen.until(true);
    program.cost("window visible, software renderer (program + window)");
    let ask = |arguments: &[&str]| {
        let out = Command::new("xdotool").args(arguments).env("DISPLAY", &display).output().expect("xdotool");
        String::from_utf8_lossy(&out.stdout).trim().to_owned()
    };
    let window = ask(&["search", "--onlyvisible", "--name", "^netglance$"]);
    ask(&["windowfocus", "--sync", &window]);
    ask(&["key", "--window", &window, "ctrl+n"]);
    let before = asked.load(Ordering::Relaxed);
    program.cost("Connections page, 1,000 remotes that all move (program + window)");
    let beats = asked.load(Ordering::Relaxed) - before;
    assert!(beats >= 10, "the page is open: {beats} calls");
    ask(&["key", "--window", &window, "Escape"]);
    ask(&["windowminimize", "--sync", &window]);
    program.cost("window minimised (program + window)");
}
