//! `netglance history` and `netglance chart` as a person or a script runs them, on a history with known contents.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test stops at the first surprise")]

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Command, Stdio},
};

use jiff::Timestamp;
use netglance::{
    keep::{
        store::{Batch, Moved, Store},
        usage::Network,
    },
    look::{rate::Bytes, target::Unit},
};
use netglance_dbus::{cgroup::Tree, text::is_shown};
use resvg::{tiny_skia, usvg};
use serde_json::Value;

const FORMULA: &str = "=HYPERLINK(\"http://evil.example\")";
const HOSTILE: &str = "a\u{1b}]0;PWNED\u{7}\u{9b}31m\u{202e}\nb,\"c\"";

struct Past {
    home: tempfile::TempDir,
    store: Store,
}

impl Past {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let (store, _) = Store::open(&home.path().join("netglance/history.db")).unwrap();
        Self { home, store }
    }

    /// One app's bytes within ten seconds, after which netglance looks on for as many seconds.
    fn moved(&mut self, at: &str, looked_secs: i64, app: (&str, &str), bytes: [u64; 4], change: impl Fn(&mut Batch)) {
        let start = at.parse::<Timestamp>().unwrap().as_second();
        let (id, name) = app;
        let unit = format!("app-{id}@1.service");
        let cgroup = format!("/user.slice/user-1000.slice/user@1000.service/app.slice/{unit}");
        let unit = Unit { app: id.to_owned(), unit, cgroup: cgroup.clone() };
        let [rx, tx, internal_rx, internal_tx] = bytes;
        let bytes = Bytes { rx, tx, internal_rx, internal_tx };
        let mut batch = Batch {
            start,
            end: start + 10,
            looked: start,
            moved: vec![Moved { cgroup, unit, bytes }],
            names: vec![(id.to_owned(), name.to_owned())],
            ..Batch::default()
        };
        change(&mut batch);
        self.store.record(&batch).unwrap();
        let end = batch.end;
        self.store.record(&Batch { start: end, end: end + looked_secs, looked: end, ..Batch::default() }).unwrap();
    }

    /// Two apps around the end of March 2025: the clock of Berlin jumped on the 30th at 1:00 UTC. The 29th was not recorded.
    fn of_march() -> Self {
        let mut past = Self::new();
        let (fox, mail) = (("fox", "Firefox"), ("org.mail", "Mail"));
        past.moved("2025-03-27T23:30:00Z", 20, fox, [1_000_000, 200_000, 7, 8], |_| {});
        past.moved("2025-03-28T10:00:00Z", 20, mail, [50_000, 40_000, 0, 0], |batch| batch.estimate = true);
        let home = |batch: &mut Batch| batch.network = Network { name: Some("Home".to_owned()), metered: Some(false) };
        past.moved("2025-03-30T00:30:00Z", 20, fox, [3, 4, 0, 0], home);
        let phone =
            |batch: &mut Batch| batch.network = Network { name: Some("+Phone".to_owned()), metered: Some(true) };
        past.moved("2025-03-30T21:59:30Z", 10, fox, [10, 20, 30, 40], phone);
        past
    }

    fn command(&self, zone: &str, arguments: &[&str]) -> Command {
        let mut command = netglance(self.home.path());
        command.env("TZ", zone).arg("history").args(arguments);
        command
    }

    #[track_caller]
    fn run(&self, zone: &str, arguments: &[&str]) -> (i32, String, String) {
        ended(&mut self.command(zone, arguments))
    }

    #[track_caller]
    fn json(&self, zone: &str, arguments: &[&str]) -> Vec<Value> {
        let (status, out, err) = self.run(zone, &[&["--json"], arguments].concat());
        assert_eq!((status, err.as_str()), (0, ""), "{arguments:?}");
        out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

fn netglance(home: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_netglance"));
    let homes = ["HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME"];
    command.envs(homes.map(|name| (name, home))).env("LC_ALL", "C.UTF-8").stdin(Stdio::null());
    command
}

#[track_caller]
fn ended(command: &mut Command) -> (i32, String, String) {
    let output = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().expect("ended by a signal"), text(output.stdout), text(output.stderr))
}

const MARCH: [&str; 4] = ["--since", "2025-03-28", "--until", "2025-03-30"];

fn in_march<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [MARCH.as_slice(), more].concat()
}

#[test]
fn days_are_those_of_the_local_clock() {
    let past = Past::of_march();
    let row = |row: &Value| {
        let text = |name: &str| row[name].as_str().unwrap().to_owned();
        let number = |name: &str| row[name].as_u64().unwrap();
        let figures = ["rx_bytes", "tx_bytes", "internal_rx_bytes", "internal_tx_bytes", "estimate_bytes"].map(number);
        (text("start"), text("end"), figures)
    };
    let found: Vec<_> = past.json("Europe/Berlin", &in_march(&[])).iter().map(row).collect();
    let day = |start: &str, end: &str, figures| (start.to_owned(), end.to_owned(), figures);
    assert_eq!(
        found,
        [
            day("2025-03-28T00:00:00+01:00", "2025-03-29T00:00:00+01:00", [1_050_000, 240_000, 7, 8, 90_000]),
            day("2025-03-30T00:00:00+01:00", "2025-03-31T00:00:00+02:00", [13, 24, 30, 40, 0]),
        ],
        "the day that nobody recorded is unknown, not zero"
    );
    let found: Vec<_> = past.json("Asia/Kathmandu", &in_march(&["--app", "fox"])).iter().map(row).collect();
    assert_eq!(
        found,
        [
            day("2025-03-28T00:00:00+05:45", "2025-03-29T00:00:00+05:45", [1_000_000, 200_000, 7, 8, 0]),
            day("2025-03-30T00:00:00+05:45", "2025-03-31T00:00:00+05:45", [3, 4, 0, 0, 0]),
        ]
    );
}

#[test]
fn in_every_zone_the_rows_add_up_to_the_same() {
    let past = Past::of_march();
    for zone in ["UTC", "Europe/Berlin", "America/Sao_Paulo", "Pacific/Apia", "Asia/Kathmandu", "Australia/Lord_Howe"] {
        for by in ["hour", "day", "month", "app", "unit", "network"] {
            let rows = past.json(zone, &["--since", "2025-01-01", "--until", "2025-12-31", "--by", by]);
            let sum = |name: &str| rows.iter().map(|row| row[name].as_u64().unwrap()).sum::<u64>();
            let found = ["rx_bytes", "tx_bytes", "internal_rx_bytes", "internal_tx_bytes", "estimate_bytes"].map(sum);
            assert_eq!(found, [1_050_013, 240_024, 37, 48, 90_000], "{zone} {by}");
            for row in &rows {
                let time = |name: &str| row[name].as_str().unwrap().parse::<Timestamp>().unwrap();
                assert!(time("start") < time("end"), "{zone} {row}");
            }
        }
    }
}

#[test]
fn rows_stand_for_what_was_asked() {
    let past = Past::of_march();
    let rows = |by: &str| {
        let rows = past.json("UTC", &["--since", "2025-03-27", "--until", "2025-03-30", "--by", by]);
        let text =
            |row: &Value| ["app", "app_id", "unit", "network", "metered"].map(|name| row[name].to_string()).join(" ");
        rows.iter().map(text).collect::<Vec<_>>()
    };
    assert_eq!(rows("app"), [r#""Firefox" "fox" null null null"#, r#""Mail" "org.mail" null null null"#]);
    assert_eq!(
        rows("unit"),
        [r#""Firefox" "fox" "app-fox@1.service" null null"#, r#""Mail" "org.mail" "app-org.mail@1.service" null null"#]
    );
    assert_eq!(
        rows("network"),
        [
            r#""all applications" null null null null"#,
            r#""all applications" null null "+Phone" true"#,
            r#""all applications" null null "Home" false"#
        ]
    );
    assert_eq!(rows("month"), [r#""all applications" null null null null"#]);
    assert_eq!(past.json("UTC", &in_march(&["--by", "hour"])).len(), 3);
    let unit = past.json("UTC", &in_march(&["--unit", "app-*.mail@*"]));
    assert_eq!((unit.len(), &unit[0]["app"], &unit[0]["rx_bytes"]), (2, &"app-*.mail@*".into(), &50_000.into()));
    let below = Tree::open().unwrap().mount().join("user.slice/user-1000.slice");
    let below = below.to_str().unwrap();
    assert_eq!(past.json("UTC", &in_march(&["--cgroup", below])), {
        let mut all = past.json("UTC", &in_march(&[]));
        all.iter_mut().for_each(|row| row["app"] = below.into());
        all
    });
    // Units and cgroups are those of either, with all below them, as in `watch`.
    let both = ["--unit", "app.slice", "--cgroup", "/system.slice"];
    assert_eq!(
        past.json("UTC", &in_march(&both)).iter().map(|row| row["rx_bytes"].as_u64().unwrap()).sum::<u64>(),
        1_050_013 - 1_000_000
    );
    // As it is called, in any spelling; the id before all names.
    for app in ["fox", "Firefox", "FIREFOX"] {
        let rows = past.json("UTC", &in_march(&["--app", app]));
        assert_eq!((&rows[0]["app"], &rows[0]["app_id"]), (&"Firefox".into(), &"fox".into()), "{app}");
    }
}

#[test]
fn a_table_says_what_is_known_and_how_well() {
    let mut past = Past::of_march();
    // A sum over a day, a part of which is another day.
    past.moved("2025-03-30T22:10:00Z", 10, ("fox", "Firefox"), [2_000, 0, 0, 0], |batch| batch.end += 86_400);
    let table = |arguments: &[&str]| past.run("Europe/Berlin", arguments).1;
    assert_eq!(
        table(&["--since", "2025-03-20", "--until", "2025-03-31"]),
        "\
all applications, 2025-03-20 00:00 to 2025-04-01 00:00
                  Download      Upload       Total    Internal
2025-03-28 Fri     1.05 MB      240 kB     1.29 MB        15 B  90.0 kB of it estimated
2025-03-29 Sat  not recorded
2025-03-30 Sun        13 B        24 B        37 B        70 B
2025-03-31 Mon     1.99 kB         0 B     1.99 kB         0 B  netglance was closed or paused, an estimate
Total              1.05 MB      240 kB     1.29 MB        85 B  92.0 kB of it estimated
Recording began on 2025-03-28 at 00:30.
"
    );
    assert_eq!(
        table(&in_march(&["--by", "app"])),
        "\
all applications, 2025-03-28 00:00 to 2025-03-31 00:00
    Download      Upload       Total    Internal  Application
     1.00 MB      200 kB     1.20 MB        85 B  Firefox
     50.0 kB     40.0 kB     90.0 kB         0 B  Mail (an estimate)
     1.05 MB      240 kB     1.29 MB        85 B  Total (90.0 kB of it estimated)
Recording began on 2025-03-28 at 00:30.
"
    );
    let hours = table(&["--since", "2025-03-30T00:00", "--until", "2025-03-30T04:00", "--by", "hour"]);
    assert_eq!(
        hours,
        "\
all applications, 2025-03-30 00:00 to 2025-03-30 04:00
                    Download      Upload       Total    Internal
2025-03-30 00:00  not recorded
2025-03-30 01:00         3 B         4 B         7 B         0 B
2025-03-30 03:00  not recorded
Total                    3 B         4 B         7 B         0 B
"
    );
}

#[test]
fn hours_that_come_twice_are_told_apart() {
    let mut past = Past::new();
    for at in ["2025-10-26T00:10:00Z", "2025-10-26T01:10:00Z"] {
        past.moved(at, 10, ("fox", "Firefox"), [5, 0, 0, 0], |_| {});
    }
    let (_, table, _) = past.run("Europe/Berlin", &["--since", "2025-10-26", "--until", "2025-10-26", "--by", "hour"]);
    let lines: Vec<_> = table.lines().filter(|line| line.contains("02:00")).collect();
    assert!(
        lines[0].starts_with("2025-10-26 02:00+02:00 ") && lines[1].starts_with("2025-10-26 02:00+01:00 "),
        "{table}"
    );
}

#[test]
fn a_spreadsheet_gets_no_formula_and_a_terminal_no_command() {
    let mut past = Past::of_march();
    past.moved("2025-03-30T12:00:00Z", 10, ("formula", FORMULA), [9, 0, 0, 0], |_| {});
    past.moved("2025-03-30T12:00:20Z", 10, (HOSTILE, HOSTILE), [8, 0, 0, 0], |_| {});
    let (status, out, err) = past.run("UTC", &in_march(&["--csv", "--by", "unit"]));
    assert_eq!((status, err.as_str()), (0, ""));
    let mut reader = csv::Reader::from_reader(out.as_bytes());
    let header = "start,end,app,app_id,unit,rx_bytes,tx_bytes,internal_rx_bytes,internal_tx_bytes,estimate_bytes,seen";
    assert_eq!(reader.headers().unwrap().iter().collect::<Vec<_>>().join(","), header);
    let rows: Vec<_> = reader.records().map(Result::unwrap).collect();
    assert_eq!(rows.len(), 4);
    assert_eq!(&rows[0][0], "2025-03-28T00:00:00+00:00");
    assert!(rows.iter().any(|row| row[2] == format!("'{FORMULA}")), "{out}");
    assert!(rows.iter().all(|row| row.iter().all(|cell| !cell.starts_with(['=', '+', '-', '@']))), "{out}");
    assert!(out.contains("'+Phone") || past.run("UTC", &in_march(&["--csv", "--by", "network"])).1.contains("'+Phone"));
    for arguments in
        [vec!["--csv", "--by", "unit"], vec!["--by", "unit"], vec!["--by", "app"], vec!["--json", "--by", "app"]]
    {
        let (_, out, _) = past.run("UTC", &in_march(&arguments));
        assert!(out.contains("PWNED"), "{arguments:?}: {out}");
        assert!(out.chars().all(|c| c == '\n' || is_shown(c)), "{arguments:?}: {out:?}");
    }
    let json = past.json("UTC", &in_march(&["--by", "app"]));
    assert!(json.iter().any(|row| row["app"] == HOSTILE && row["app_id"] == HOSTILE), "JSON has the name itself");
}

#[test]
fn what_is_not_there_is_said() {
    let empty = tempfile::tempdir().unwrap();
    let (status, out, err) = ended(netglance(empty.path()).arg("history"));
    assert_eq!((status, out.as_str()), (3, ""), "{err}");
    assert!(err.starts_with("netglance: nothing has been recorded yet. "), "{err}");
    let past = Past::of_march();
    for (arguments, status, said) in [
        (&["--app", "firefoxx"][..], 3, "nothing is recorded for firefoxx. Similar names: Firefox."),
        (
            &["--unit", "app-foxx@1.service"],
            3,
            "nothing is recorded for app-foxx@1.service. Similar names: app-fox@1.service",
        ),
        (&["--cgroup", "/system.slice"], 3, "nothing is recorded for /system.slice."),
        (
            &["--since", "2025-01-01", "--until", "2025-01-31"],
            3,
            "nothing was recorded in this period. Recording began on 2025-03-27 at 23:30.",
        ),
        (&["--since", "2025-03-29", "--until", "2025-03-29", "--by", "app"], 3, "nothing was recorded in this period."),
        (&["--unit", "[x"], 1, "\"[x\" is not a unit pattern"),
        (&["--since", "soon"], 2, "use today, yesterday, a time ago such as 12h or 7d, a day such as 2026-11-01, or"),
        (&["--since", "2025-02-30"], 2, "not a time"),
        (&["--since", "2025-02-03T25:00"], 2, "not a time"),
        (&["--since", "0d"], 2, "not a time"),
        (&["--until", ""], 2, "not a time"),
        (&["--since", "2025-03-30", "--until", "2025-03-29"], 2, "--since has to be earlier than --until"),
        (&["--since", "7d", "--until", "8d"], 2, "--since has to be earlier than --until"),
        (&["--since", "9000-01-01"], 2, "--since lies in the future"),
        (&["--since", "9000-01-01", "--until", "9000-01-02"], 2, "--since lies in the future"),
        (&["--json", "--csv"], 2, "cannot be used with"),
        (&["--by", "week"], 2, "[possible values: hour, day, month, app, unit, network]"),
    ] {
        let (found, out, err) = past.run("UTC", arguments);
        assert_eq!((found, out.as_str()), (status, ""), "{arguments:?}: {err}");
        assert!(err.contains(said), "{arguments:?}: {err}");
    }
}

#[test]
fn every_form_of_a_time_is_taken() {
    let past = Past::of_march();
    for (since, until) in [
        ("2025-03-28", "2025-03-30"),
        ("2025-03-28T00:00", "2025-03-30T23:59:59"),
        ("2025-03-28 00:00:00", "2025-03-31T00:00"),
        ("2025-03-27T23:00Z", "2025-03-31T00:00+02:00"),
        ("2025-03-27T23:00:00-00:00", "today"),
        ("200 years ago", "1min"),
        ("9000y", "yesterday"),
        ("P100Y", "1h"),
    ] {
        let rows = past.json("Europe/Berlin", &["--since", since, "--until", until, "--by", "app"]);
        assert_eq!(rows.len(), 2, "{since} {until}");
        assert_eq!(rows[0]["rx_bytes"], 1_000_013, "{since} {until}");
    }
    // Whatever is asked for, there is an end to it.
    let rows = past.json("Europe/Berlin", &["--since", "9000y", "--by", "hour"]);
    assert_eq!(rows.len(), 4);
}

#[test]
fn a_month_begins_on_the_billing_day() {
    let past = Past::of_march();
    let directory = past.home.path().join("netglance");
    fs::write(directory.join("config.toml"), "[history]\nbilling_day = 28\n").unwrap();
    let months = past.json("Europe/Berlin", &["--since", "2025-01-01", "--until", "2025-12-31", "--by", "month"]);
    assert_eq!(months.len(), 1);
    assert_eq!(months[0]["start"], "2025-03-28T00:00:00+01:00");
    assert_eq!(months[0]["end"], "2025-04-28T00:00:00+02:00");
}

#[test]
fn today_is_there_and_a_closed_pipe_is_no_error() {
    let mut past = Past::new();
    past.moved("2025-03-28T10:00:00Z", 400 * 86_400, ("fox", "Firefox"), [50_000, 40_000, 0, 0], |_| {});
    let now = Timestamp::now();
    past.moved(
        &Timestamp::from_second(now.as_second() - 20).unwrap().to_string(),
        0,
        ("fox", "Firefox"),
        [7, 8, 0, 0],
        |_| {},
    );
    let today = past.json("UTC", &["--since", "60s", "--by", "app"]);
    assert_eq!((&today[0]["rx_bytes"], &today[0]["tx_bytes"]), (&7.into(), &8.into()));
    for kind in [&["--json"][..], &["--csv"], &[]] {
        let arguments = [&["--since", "2025-03-01", "--by", "hour"], kind].concat();
        let mut command = past.command("UTC", &arguments);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &b""[..]), "{kind:?}");
    }
}

/// Width and height of a picture, and how many of its pixels are not those of the background.
fn pixels(png: &Path) -> (u32, u32, usize) {
    let picture = tiny_skia::Pixmap::load_png(png).unwrap();
    let background = picture.pixel(0, 0).unwrap();
    let drawn = picture.pixels().iter().filter(|pixel| **pixel != background).count();
    (picture.width(), picture.height(), drawn)
}

#[test]
fn a_chart_is_a_file_or_nothing() {
    let past = Past::of_march();
    let directory = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| {
        let mut command = netglance(past.home.path());
        ended(command.env("TZ", "Europe/Berlin").current_dir(&directory).arg("chart").args(MARCH).args(arguments))
    };
    let names = || {
        let names = fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.collect::<BTreeSet<_>>()
    };
    assert_eq!(run(&["-o", "a.svg"]), (0, String::new(), String::new()));
    let svg = fs::read_to_string(directory.path().join("a.svg")).unwrap();
    usvg::Tree::from_str(&svg, &usvg::Options::default()).unwrap();
    for text in ["all applications", "2025-03-28 00:00 to ", "Europe/Berlin", "Not recorded", "Download"] {
        assert!(svg.contains(text), "no {text} in {svg}");
    }
    // A file that is there is replaced, and keeps its permissions; a link stays one.
    let kept = directory.path().join("kept.PNG");
    fs::write(&kept, "old").unwrap();
    fs::set_permissions(&kept, fs::Permissions::from_mode(0o604)).unwrap();
    std::os::unix::fs::symlink("kept.PNG", directory.path().join("link.png")).unwrap();
    assert_eq!(
        run(&["-o", "link.png", "--app", "fox", "--size", "400x300", "--dark"]),
        (0, String::new(), String::new())
    );
    let (width, height, drawn) = pixels(&kept);
    assert_eq!((width, height), (400, 300));
    assert!(drawn > 2_000, "{drawn}");
    assert_eq!(fs::metadata(&kept).unwrap().permissions().mode() & 0o777, 0o604);
    assert!(fs::symlink_metadata(directory.path().join("link.png")).unwrap().is_symlink());
    let before = names();
    for (arguments, status, said) in [
        (&["-o", "b.pdf"][..], 2, "the name has to end in .svg or .png"),
        (&["-o", "b"], 2, "the name has to end in .svg or .png"),
        (&[], 2, "--output <FILE>"),
        (&["-o", "b.png", "--size", "400"], 2, "not a size such as 960x400"),
        (&["-o", "b.png", "--size", "0x400"], 2, "each number has to be from 300 to 5000"),
        (&["-o", "b.png", "--size", "99999999999x400"], 2, "each number has to be from 300 to 5000"),
        (&["-o", "b.png", "--app", "nobody"], 3, "nothing is recorded for nobody."),
        (&["-o", "missing/b.png"], 1, "cannot write missing/b.png: No such file or directory"),
        (&["-o", "missing/b.svg"], 1, "cannot write missing/b.svg: No such file or directory"),
    ] {
        let (found, out, err) = run(arguments);
        assert_eq!((found, out.as_str()), (status, ""), "{arguments:?}: {err}");
        assert!(err.contains(said), "{arguments:?}: {err}");
    }
    fs::create_dir(directory.path().join("directory.svg")).unwrap();
    let (status, _, err) = run(&["-o", "directory.svg"]);
    assert_eq!(status, 1, "{err}");
    assert_eq!(&names() - &before, BTreeSet::from(["directory.svg".to_owned()]), "nothing is left behind");
}

#[test]
fn a_chart_has_every_size_and_any_name() {
    let mut past = Past::of_march();
    past.moved("2025-03-30T12:00:20Z", 10, (HOSTILE, HOSTILE), [8, 0, 0, 0], |_| {});
    let directory = tempfile::tempdir().unwrap();
    for size in ["300x300", "300x3000", "3000x300"] {
        for since in ["2025-03-30T11:00", "2024-01-01"] {
            let file = directory.path().join("chart.png");
            let mut command = netglance(past.home.path());
            command.args(["chart", "--size", size, "--since", since, "--until", "2025-03-30", "--app", HOSTILE, "-o"]);
            assert_eq!(ended(command.arg(&file)), (0, String::new(), String::new()), "{size} {since}");
            let (width, height, drawn) = pixels(&file);
            assert_eq!(format!("{width}x{height}"), size);
            assert!(drawn > 100, "{size} {since}: {drawn}");
        }
    }
    let file = directory.path().join("chart.svg");
    let mut command = netglance(past.home.path());
    command.args(["chart", "--since", "2025-03-27", "--until", "2025-03-30", "--app", HOSTILE, "-o"]);
    assert_eq!(ended(command.arg(&file)).0, 0);
    let svg = fs::read_to_string(&file).unwrap();
    assert!(svg.contains("PWNED") && svg.chars().all(|c| c == '\n' || is_shown(c)), "{svg:?}");
}
