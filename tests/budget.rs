//! What a budget says: to a person by a stand-in for a desktop's notifications on a real session bus, whose buttons the test
//! presses, and to scripts by `netglance budget` on a history of the test's own.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test stops at the first surprise")]

#[path = "support/desk.rs"]
mod desk;
mod support;

use std::{collections::HashMap, fs, process::Command, time::Duration};

use jiff::Timestamp;
use netglance::{
    base::settings::{Budget, Limit, Per},
    keep::{
        budget::Notice,
        store::{Batch, Moved, Store},
        usage::Network,
    },
    look::{rate::Bytes, target::Unit},
    program::{instance::Asked, notify},
};
use serde_json::{Value, json};
use support::eventually;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use zbus::{Connection, OwnedVariant, connection::Builder, object_server::SignalEmitter};

const NAME: &str = "org.freedesktop.Notifications";
const PATH: &str = "/org/freedesktop/Notifications";
/// Longer than a slow machine takes; only a failure waits for it.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a server was asked to show.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Shown {
    app: String,
    replaces: u32,
    icon: String,
    title: String,
    text: String,
    actions: Vec<String>,
    entry: String,
    urgency: u8,
    expires: i32,
}

struct Server {
    shown: UnboundedSender<Shown>,
    last: u32,
    markup: bool,
    /// It shows nothing, whatever it is asked.
    refuses: bool,
}

#[zbus::interface(name = "org.freedesktop.Notifications")]
impl Server {
    fn get_capabilities(&self) -> Vec<&str> {
        let markup = if self.markup { "body-markup" } else { "persistence" };
        vec!["actions", "body", markup]
    }

    #[expect(clippy::too_many_arguments, reason = "the specification's")]
    fn notify(
        &mut self,
        app: String,
        replaces: u32,
        icon: String,
        title: String,
        text: String,
        actions: Vec<String>,
        hints: HashMap<String, OwnedVariant>,
        expires: i32,
    ) -> zbus::fdo::Result<u32> {
        let entry = hints["desktop-entry"].downcast_ref::<&str>().unwrap().to_owned();
        let urgency = hints["urgency"].downcast_ref::<u8>().unwrap();
        self.shown.send(Shown { app, replaces, icon, title, text, actions, entry, urgency, expires }).unwrap();
        if self.refuses {
            return Err(zbus::fdo::Error::Failed("too many".to_owned()));
        }
        self.last = if replaces == 0 { self.last + 1 } else { replaces };
        Ok(self.last)
    }

    #[zbus(signal)]
    async fn activation_token(emitter: &SignalEmitter<'_>, id: u32, activation_token: &str) -> zbus::Result<()>;

    #[zbus(signal)]
    async fn action_invoked(emitter: &SignalEmitter<'_>, id: u32, action_key: &str) -> zbus::Result<()>;

    #[zbus(signal)]
    async fn notification_closed(emitter: &SignalEmitter<'_>, id: u32, reason: u32) -> zbus::Result<()>;
}

/// A session with a netglance in it.
struct Session {
    address: String,
    notices: UnboundedSender<Notice>,
    asked: UnboundedReceiver<Asked>,
    _server: desk::Server,
    _directory: tempfile::TempDir,
}

impl Session {
    async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (server, address) = desk::bus(directory.path(), "session");
        let (ask, asked) = unbounded_channel();
        let own = Builder::address(address.as_str()).build().await.unwrap();
        Self { address, notices: notify::start(own, ask), asked, _server: server, _directory: directory }
    }

    /// A server that numbers what it shows, from `first` on.
    async fn desktop(&self, first: u32, markup: bool) -> Desktop {
        let (sender, shown) = unbounded_channel();
        let server = Server { shown: sender, last: first - 1, markup, refuses: false };
        let builder = Builder::address(self.address.as_str()).name(NAME).serve_at(PATH, server);
        Desktop { connection: builder.build().await.unwrap(), shown }
    }

    fn say(&self, budget: &Budget, title: &str, text: &str, urgent: bool) {
        let (title, text) = (title.to_owned(), text.to_owned());
        self.notices.send(Notice { budget: budget.clone(), title, text, urgent }).unwrap();
    }

    async fn is_asked(&mut self, token: Option<&str>) {
        let asked = tokio::time::timeout(PATIENCE, self.asked.recv()).await.expect("nobody asks");
        assert_eq!(asked, Some(Asked { token: token.map(str::to_owned) }));
    }
}

struct Desktop {
    connection: Connection,
    shown: UnboundedReceiver<Shown>,
}

impl Desktop {
    async fn shows(&mut self) -> Shown {
        tokio::time::timeout(PATIENCE, self.shown.recv()).await.expect("nothing is shown").unwrap()
    }

    fn emitter(&self) -> SignalEmitter<'static> {
        SignalEmitter::new(&self.connection, PATH).unwrap().into_owned()
    }

    async fn press(&self, id: u32, action: &str, token: Option<&str>) {
        if let Some(token) = token {
            Server::activation_token(&self.emitter(), id, token).await.unwrap();
        }
        Server::action_invoked(&self.emitter(), id, action).await.unwrap();
    }

    async fn close(&self, id: u32) {
        Server::notification_closed(&self.emitter(), id, 2).await.unwrap();
    }
}

fn budget(app: &str) -> Budget {
    Budget { app: Some(app.to_owned()), limit: Limit::Usage { bytes: 5_000_000_000, per: Per::Month }, metered: false }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_notification_has_a_button_that_shows_the_window() {
    let mut session = Session::new().await;
    let mut desktop = session.desktop(7, true).await;
    session.say(&budget("StB"), "StB has used 80 % of its 5 GB this month", "4 of 5 GB.", false);
    let expected = Shown {
        app: "netglance".into(),
        replaces: 0,
        icon: "org.netglance.Netglance".into(),
        title: "StB has used 80 % of its 5 GB this month".into(),
        text: "4 of 5 GB.".into(),
        actions: ["default", "Show Window", "show", "Show Window"].map(String::from).into(),
        entry: "org.netglance.Netglance".into(),
        urgency: 1,
        expires: -1,
    };
    assert_eq!(desktop.shows().await, expected);
    // What is pressed on others' notifications is none of ours.
    desktop.press(6, "show", Some("theirs")).await;
    desktop.press(7, "show", Some("token 1")).await;
    session.is_asked(Some("token 1")).await;
    desktop.press(7, "something", None).await;
    desktop.press(7, "default", None).await;
    session.is_asked(None).await;
    session.say(&budget("Mail"), "Mail", "", false);
    assert_eq!(desktop.shows().await.replaces, 0);
    desktop.close(7).await;
    desktop.press(7, "show", None).await;
    desktop.press(8, "show", Some("token 2")).await;
    session.is_asked(Some("token 2")).await;
    session.say(&budget("StB"), "StB has used up its 5 GB this month", "5 of 5 GB.", true);
    let shown = desktop.shows().await;
    assert_eq!((shown.replaces, shown.urgency), (0, 2), "the one before was closed");
    desktop.press(9, "show", Some("token 3")).await;
    session.is_asked(Some("token 3")).await;
    assert!(session.asked.try_recv().is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn each_budget_has_one_notification() {
    let mut session = Session::new().await;
    let mut desktop = session.desktop(1, true).await;
    let mut replaced = Vec::new();
    for app in ["a", "b", "a", "b", "c", "a"] {
        session.say(&budget(app), app, "", false);
        replaced.push(desktop.shows().await.replaces);
    }
    assert_eq!(replaced, [0, 0, 1, 2, 0, 1]);
    for id in 1..=3 {
        desktop.press(id, "show", None).await;
        session.is_asked(None).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_is_no_markup() {
    let session = Session::new().await;
    let (title, text) = ("<b>a</b> & b", "<a href=\"x\">a</a> & b");
    let mut desktop = session.desktop(1, true).await;
    session.say(&budget("a"), title, text, false);
    let shown = desktop.shows().await;
    assert_eq!((&*shown.title, &*shown.text), (title, "&lt;a href=\"x\"&gt;a&lt;/a&gt; &amp; b"));
    desktop.connection.release_name(NAME).await.unwrap();
    let mut plain = session.desktop(1, false).await;
    session.say(&budget("a"), title, text, false);
    let shown = plain.shows().await;
    assert_eq!((&*shown.title, &*shown.text), (title, text), "one that knows no markup");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_server_a_notice_waits_for_one() {
    let mut session = Session::new().await;
    session.say(&budget("a"), "a", "", false);
    let mut desktop = session.desktop(1, true).await;
    assert_eq!(desktop.shows().await.title, "a");
    desktop.press(1, "show", None).await;
    session.is_asked(None).await;
    // The ids of the next server are its own.
    drop(desktop);
    let mut desktop = session.desktop(1, true).await;
    session.say(&budget("b"), "b", "", false);
    assert_eq!((desktop.shows().await.replaces, desktop.shown.try_recv().is_err()), (0, true));
    desktop.press(2, "show", Some("another's")).await;
    desktop.press(1, "show", Some("ours")).await;
    session.is_asked(Some("ours")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_refuses_is_not_asked_again_and_again() {
    let session = Session::new().await;
    let mut desktop = session.desktop(1, true).await;
    // After this the program knows of the server.
    session.say(&budget("c"), "c", "", false);
    assert_eq!(desktop.shows().await.title, "c");
    let server = desktop.connection.object_server().interface::<_, Server>(PATH).await.unwrap();
    server.get_mut().await.refuses = true;
    for (app, title) in [("a", "80 %"), ("b", "b"), ("a", "100 %")] {
        session.say(&budget(app), title, "", false);
        assert_eq!(desktop.shows().await.title, title);
    }
    server.get_mut().await.refuses = false;
    session.say(&budget("c"), "c", "", false);
    assert_eq!((desktop.shows().await.title, desktop.shown.try_recv().is_err()), ("c".into(), true));
    // The next one is shown what that one wasn't: the last notice of each budget.
    desktop.connection.release_name(NAME).await.unwrap();
    let mut next = session.desktop(1, true).await;
    assert_eq!([next.shows().await.title, next.shows().await.title], ["b", "100 %"]);
}

const DAY_SECS: i64 = 86_400;

/// A user with settings and, once something is recorded, a history.
struct User {
    home: tempfile::TempDir,
    /// In which it is noon now: no test runs over the end of a day.
    zone: String,
}

impl User {
    fn new(settings: &str) -> Self {
        let home = tempfile::tempdir().unwrap();
        fs::create_dir(home.path().join("netglance")).unwrap();
        fs::write(home.path().join("netglance/config.toml"), settings).unwrap();
        let hours_west = Timestamp::now().as_second().rem_euclid(DAY_SECS) / 3600 - 12;
        Self { home, zone: format!("NOON{hours_west}") }
    }

    /// Records what apps have moved in the last ten seconds on a network, at first since `since_secs` ago.
    fn records(&self, since_secs: i64, metered: Option<bool>, moved: &[(&str, u64)]) {
        let path = self.home.path().join("netglance/history.db");
        // A process that another test starts has the lock too, until it has become another program.
        let (mut store, _) = eventually("the history is open", || Store::open(&path).ok());
        let now = Timestamp::now().as_second();
        let unit = |app: &str| Unit { app: app.into(), unit: format!("{app}.service"), cgroup: format!("/{app}") };
        let moved = moved.iter().map(|(app, rx)| Moved {
            cgroup: format!("/{app}"),
            unit: unit(app),
            bytes: Bytes { rx: *rx, internal_tx: 8_000_000_000, ..Bytes::default() },
        });
        let batch = Batch {
            start: now - 10,
            end: now,
            looked: now - since_secs,
            estimate: true,
            network: Network { name: None, metered },
            moved: moved.collect(),
            names: vec![("firefox".into(), "Firefox Web Browser".into())],
            ..Batch::default()
        };
        store.record(&batch).unwrap();
    }

    /// Exit status, standard output and standard error.
    fn asks(&self, arguments: &[&str]) -> (i32, String, String) {
        self.runs(&[&["budget"], arguments].concat())
    }

    fn runs(&self, arguments: &[&str]) -> (i32, String, String) {
        let home = self.home.path();
        let mut command = Command::new(env!("CARGO_BIN_EXE_netglance"));
        command.args(arguments).env_clear().env("HOME", home).env("TZ", &self.zone);
        let out = command.env("XDG_CONFIG_HOME", home).env("XDG_DATA_HOME", home).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (out.status.code().unwrap(), text(out.stdout), text(out.stderr))
    }
}

const BUDGETS: &str = r#"
[[budget]]
app = "firefox web browser"
limit = "5 GB"
per = "day"

[[budget]]
limit = "10 GB"
per = "day"
metered = true

[[budget]]
app = "nobody"
limit = "1 MB/s"
seconds = 60
"#;

#[test]
fn scripts_hear_by_the_exit_status_that_a_budget_is_used_up() {
    let user = User::new(BUDGETS);
    user.records(40 * DAY_SECS, Some(true), &[("firefox", 4_100_000_000), ("other", 500_000_000)]);
    user.records(0, Some(false), &[("other", 7_000_000_000)]);
    let first = "Firefox Web Browser: 4.1 of 5 GB today (82 %), starts again at midnight";
    let second = "All applications: 4.6 of 10 GB today on metered networks (46 %), starts again at midnight";
    let third = "nobody: warns above 1 MB/s for 60 seconds (only while netglance is running)";
    let lines = format!("{first}\n{second}\n{third}\n");
    assert_eq!(user.asks(&[]), (0, lines.clone(), String::new()));
    assert_eq!(user.asks(&["--check"]), (0, lines, String::new()));
    user.records(0, None, &[("firefox", 900_000_000)]);
    let (status, out, _) = user.asks(&["--check"]);
    let first = "Firefox Web Browser: 5 of 5 GB today (100 %), starts again at midnight";
    assert_eq!((status, out.lines().next()), (4, Some(first)));
    assert_eq!(user.asks(&[]).0, 0, "nobody has asked for it");

    let (status, out, _) = user.asks(&["--check", "--json"]);
    let rows: Vec<Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let time = |row: &Value, key: &str| row[key].as_str().unwrap().parse::<Timestamp>().unwrap().as_second();
    assert_eq!((status, time(&rows[0], "end") - time(&rows[0], "start")), (4, DAY_SECS));
    let expected = json!({
        "app": "firefox web browser", "limit_bytes": 5_000_000_000_u64, "per": "day", "seconds": null, "metered": false,
        "start": rows[0]["start"], "end": rows[0]["end"], "bytes": 5_000_000_000_u64,
        "estimate_bytes": 21_000_000_000_u64, "percent": 100, "recorded_since": null,
    });
    assert_eq!(rows[0], expected);
    assert_eq!((&rows[1]["bytes"], &rows[1]["metered"]), (&json!(4_600_000_000_u64), &json!(true)));
    let rate = json!({
        "app": "nobody", "limit_bytes": 1_000_000, "per": null, "seconds": 60, "metered": false, "start": null, "end": null,
        "bytes": null, "estimate_bytes": null, "percent": null, "recorded_since": null,
    });
    assert_eq!(rows[2], rate);

    // Prometheus is told the same, but for budgets that a series can't tell from others.
    let (status, out, err) = user.runs(&["metrics"]);
    assert_eq!(status, 0, "{err}");
    let told: Vec<_> = out.lines().filter(|line| line.starts_with("netglance_budget_")).collect();
    let labels = r#"{app="firefox web browser",per="day",user="root"}"#;
    let expected = [
        format!("netglance_budget_limit_bytes{labels} 5000000000"),
        format!("netglance_budget_used_bytes{labels} 5000000000"),
        format!("netglance_budget_end_time_seconds{labels} {}", time(&rows[0], "end")),
    ];
    assert_eq!(told, expected);
}

#[test]
fn what_was_not_recorded_is_said() {
    let user = User::new(BUDGETS);
    let nothing = "netglance: nothing has been recorded yet. netglance records only while it is running, as a tray icon or a \
                   window.\n";
    assert_eq!(user.asks(&["--check"]), (3, String::new(), nothing.into()));
    user.records(3600, Some(true), &[("firefox", 1_000_000)]);
    let (status, out, _) = user.asks(&["--check"]);
    let first = out.lines().next().unwrap();
    assert!(
        first.starts_with("Firefox Web Browser: 1 MB of 5 GB today (0 %), starts again at midnight; recorded since "),
        "{out}"
    );
    assert_eq!(status, 0);
    let (_, out, _) = user.asks(&["--json"]);
    assert!(serde_json::from_str::<Value>(out.lines().next().unwrap()).unwrap()["recorded_since"].is_string(), "{out}");

    let user = User::new("[history]\nrecord = false\n[[budget]]\nlimit = \"1 GB\"\nper = \"day\"\n");
    let off = "netglance: nothing is recorded: recording is off. Turn it on in the settings.\n";
    assert_eq!(user.asks(&["--check"]), (3, String::new(), off.into()));
    let user = User::new("[[budget]]\nlimit = \"1 MB/s\"\nseconds = 5\n");
    let (status, out, _) = user.asks(&["--check"]);
    assert_eq!((status, out.lines().count()), (0, 1), "a rate needs no history");
}

#[test]
fn without_a_budget_or_with_a_mistake_in_one_nothing_is_checked() {
    let (status, out, error) = User::new("").asks(&["--check"]);
    assert_eq!((status, &*out), (0, ""));
    assert!(error.starts_with("netglance: no budgets are set."), "{error}");
    let (status, out, error) = User::new("[[budget]]\nlimit = \"5 GB\"\n").asks(&["--check"]);
    assert_eq!((status, &*out), (1, ""));
    assert!(error.contains("config.toml, line 2: the limit \"5 GB\" needs a period"), "{error}");
}
