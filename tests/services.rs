//! System services as their watcher sees them, with a real helper on a real bus: an estimate until an administrator has agreed,
//! exact to the byte from then on; and nobody is asked who can't answer.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

#[path = "support/host.rs"]
mod host;
#[path = "support/lab.rs"]
mod lab;
#[path = "support/system.rs"]
mod system;

use std::{
    io::{BufRead as _, BufReader, Read},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use host::{APPS, Host, USER};
use lab::OUTSIDE;
use serde_json::Value;
use system::{Answer, Daemon, Polkit};

/// No test: what an application's process runs.
#[test]
fn application() {
    lab::application::run();
}

/// Longer than anything here takes on a slow machine; only a failure waits for it.
const PATIENCE: Duration = Duration::from_secs(60);
const SERVICE: &str = "system.slice/b.service";
/// polkit's flag that lets it open a dialog.
const MAY_ASK: u32 = 1;

/// A host whose helper counts, with a service and an app of the user's.
struct Scene {
    service: lab::Application,
    app: lab::Application,
    daemon: Daemon,
    polkit: Polkit,
    host: Host,
}

impl Scene {
    async fn new(answer: Answer) -> Self {
        let host = Host::new();
        let polkit = Polkit::new(&host.bus, answer).await;
        let daemon = Daemon::new(&host.lab, &host.bus).await;
        host.bus.helper_of(0).await.install().await.unwrap();
        let [service, app] =
            [SERVICE.to_owned(), format!("{APPS}/a.service")].map(|cgroup| host.lab.application(&cgroup));
        Self { service, app, daemon, polkit, host }
    }

    fn watch(&self, arguments: &[&str]) -> Watch {
        let mut command =
            self.host.command(USER, &[], &[&["watch", "--json", "--interval", "0.2"], arguments].concat());
        Watch::spawn(command.stdin(Stdio::null()))
    }

    /// The same at a terminal: `script` makes one.
    fn watch_at_a_terminal(&self, arguments: &str) -> Watch {
        let typed = format!("watch --json --interval 0.2 {arguments}");
        let typed: Vec<&str> = typed.split(' ').collect();
        let command = self.host.command(USER, &[], &typed);
        let quoted = |text: &std::ffi::OsStr| format!("'{}'", text.to_str().unwrap().replace('\'', r"'\''"));
        let line: Vec<_> = std::iter::once(command.get_program()).chain(command.get_args()).map(quoted).collect();
        let mut script = Command::new("script");
        script.args(["--quiet", "--return", "--command", &line.join(" "), "/dev/null"]);
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => script.env(name, value),
                None => script.env_remove(name),
            };
        }
        Watch::spawn(script.stdin(Stdio::piped()))
    }

    /// Which flags polkit was asked with about the rows of all, in order.
    fn asked(&self) -> Vec<u32> {
        let asked = self.polkit.asked.lock().unwrap();
        let all = asked.questions.iter().filter(|(action, ..)| action == "org.netglance.read-all");
        all.map(|(.., flags)| *flags).collect()
    }
}

/// A running `watch` and what it has printed: its lines of JSON, and what it has said.
struct Watch {
    child: Child,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Watch {
    fn spawn(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let lines = Arc::default();
        let streams: [Box<dyn Read + Send>; 2] =
            [Box::new(child.stdout.take().unwrap()), Box::new(child.stderr.take().unwrap())];
        for stream in streams {
            let lines: Arc<Mutex<Vec<String>>> = Arc::clone(&lines);
            let gather = move || {
                BufReader::new(stream).lines().map_while(Result::ok).for_each(|line| lines.lock().unwrap().push(line));
            };
            thread::Builder::new().name("output".into()).spawn(gather).unwrap();
        }
        Self { child, lines }
    }

    /// The stand-in for polkit answers meanwhile.
    async fn wait<T>(&self, what: &str, find: impl Fn(&[String]) -> Option<T>) -> T {
        let end = Instant::now() + PATIENCE;
        loop {
            let lines = self.lines.lock().unwrap().clone();
            if let Some(found) = find(&lines) {
                return found;
            }
            assert!(Instant::now() < end, "never came: {what}; {lines:#?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Waits for a line of JSON.
    async fn line(&self, what: &str, is_it: impl Fn(&Value) -> bool) -> Value {
        self.wait(what, |lines| json(lines).into_iter().find(|line| is_it(line))).await
    }

    async fn says(&self, text: &str) {
        self.wait(text, |lines| lines.iter().any(|line| line.contains(text)).then_some(())).await;
    }

    fn json(&self) -> Vec<Value> {
        json(&self.lines.lock().unwrap())
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = (self.child.kill(), self.child.wait());
    }
}

fn json(lines: &[String]) -> Vec<Value> {
    lines.iter().filter_map(|line| serde_json::from_str(line).ok()).filter(Value::is_object).collect()
}

fn bytes(line: &Value) -> [u64; 4] {
    ["rx_bytes", "tx_bytes", "internal_rx_bytes", "internal_tx_bytes"].map(|field| line[field].as_u64().unwrap())
}

fn is(source: &'static str) -> impl Fn(&Value) -> bool {
    move |line| line["source"] == source && line["gap"].is_null()
}

fn since(now: [u64; 4], before: [u64; 4]) -> [u64; 4] {
    std::array::from_fn(|at| now[at] - before[at])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_script_gets_the_estimate_and_no_dialog() {
    for answer in [Answer::Challenge, Answer::No] {
        let scene = Scene::new(answer).await;
        let watch = scene.watch(&["--unit", "b.service"]);
        watch.line("the estimate", is("estimate")).await;
        assert!(watch.json().iter().all(|line| line["source"] == "estimate"), "{:#?}", watch.json());
        assert_eq!(scene.asked(), [0], "asked once, and no dialog");
    }
}

/// What polkit's rules allow needs no dialog, so a script gets it too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_allowed_is_exact_to_the_byte_from_the_first_look_on() {
    let mut scene = Scene::new(Answer::Yes).await;
    // What was counted before the watch is not the watch's.
    scene.service.run(&format!("tcp {} 300000 1000000", OUTSIDE[0]));
    let before = scene.host.lab.truth();
    let watch = scene.watch(&["--unit", "b.service"]);
    let both = scene.watch(&["--unit", "a.service", "b.service"]);
    let own = scene.watch(&["--unit", "a.service"]);
    let first = watch.line("the first line", |_| true).await;
    assert_eq!((bytes(&first), &first["source"], &first["gap"]), ([0; 4], &"exact".into(), &Value::Null), "{first}");
    for watch in [&both, &own] {
        watch.line("the first line", |_| true).await;
    }
    for address in OUTSIDE {
        scene.service.run(&format!("tcp {address} 300000 1000000"));
        scene.service.run(&format!("udp {address} 50 1000"));
    }
    let middle = scene.host.lab.truth();
    let line = watch.line("all bytes", |line| bytes(line) == since(middle, before)).await;
    assert_eq!((&line["source"], &line["unmeasured_udp_sockets"]), (&"exact".into(), &Value::Null), "{line}");
    scene.app.run(&format!("tcp {} 100000 50000", OUTSIDE[0]));
    let truth = scene.host.lab.truth();
    both.line("the service's and the app's bytes", |line| bytes(line) == since(truth, before)).await;
    own.line("the app's bytes alone", |line| bytes(line) == since(truth, middle)).await;
    for watch in [&watch, &both, &own] {
        let lines = watch.json();
        // Where the machine stood still for seconds, there is no rate for that time.
        let is_steady = |line: &Value| line["gap"].as_str().is_none_or(|gap| gap.starts_with("no measurement for"));
        assert!(lines.iter().all(|line| line["source"] == "exact" && is_steady(line)), "{lines:#?}");
    }
    assert!(scene.asked().iter().all(|flags| *flags == 0), "{:?}", scene.asked());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_a_terminal_a_person_is_asked_once() {
    let mut scene = Scene::new(Answer::Dismissed).await;
    let watch = scene.watch_at_a_terminal("--unit b.service");
    watch.says("an administrator's password is needed for exact figures").await;
    watch
        .says("was not authorised: the password dialog was closed. Nothing was changed. The figures are an estimate.")
        .await;
    watch.line("the estimate", is("estimate")).await;
    assert_eq!(scene.asked(), [0, MAY_ASK]);
    drop(watch);
    // One's own is never asked about.
    let own = scene.watch_at_a_terminal("--unit a.service");
    own.line("exact", is("exact")).await;
    assert_eq!(scene.asked(), [0, MAY_ASK]);
    drop(own);
    scene.polkit.say(Answer::Silence);
    let watch = scene.watch_at_a_terminal("--unit b.service");
    // Nobody's dialog is open for the first question, which is taken back after two seconds.
    let end = Instant::now() + PATIENCE;
    while scene.asked() != [0, MAY_ASK, 0, MAY_ASK] {
        assert!(Instant::now() < end, "the dialog does not open: {:?}", scene.asked());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    drop(watch);
    scene.polkit.say(Answer::Yes);
    let watch = scene.watch_at_a_terminal("--app system:b.service");
    let first = watch.line("exact", is("exact")).await;
    let before = scene.host.lab.truth();
    scene.service.run(&format!("udp {} 50 1000", OUTSIDE[0]));
    let moved = since(scene.host.lab.truth(), before);
    watch.line("all bytes", |line| bytes(line) == moved).await;
    assert_eq!(bytes(&first), [0; 4]);
}

/// polkit forgets a password after five minutes. The helper doesn't, for the connection that has asked.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_granted_stays_granted_until_the_helper_goes() {
    let mut scene = Scene::new(Answer::Yes).await;
    let watch = scene.watch(&["--unit", "b.service"]);
    watch.line("exact", is("exact")).await;
    scene.polkit.say(Answer::Challenge);
    let before = scene.host.lab.truth();
    scene.service.run(&format!("udp {} 50 1000", OUTSIDE[0]));
    let moved = since(scene.host.lab.truth(), before);
    watch.line("all bytes", |line| bytes(line) == moved).await;
    assert!(watch.json().iter().all(|line| line["source"] == "exact"), "{:#?}", watch.json());
    // Another helper knows nobody. The estimate goes on, and nothing that was counted is lost.
    scene.daemon.kill();
    scene.daemon.start(&scene.host.bus).await;
    watch.line("the estimate", is("estimate")).await;
    assert!(watch.json().iter().all(|line| bytes(line)[1] <= moved[1]), "{:#?}", watch.json());
    assert!(Path::new("/proc").join(watch.child.id().to_string()).exists());
}
