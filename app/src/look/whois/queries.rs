//! Which name this computer asked for before it was told an address: systemd-resolved says it to whoever may know
//! (`io.systemd.Resolve.Monitor`, systemd-resolved.service(8)). It asks for no name itself, and keeps nothing on disk.
//!
//! The protocol is Varlink (varlink.org): JSON objects, each with a NUL at its end, on a socket. Ordinary users may follow the queries
//! since systemd 257, with an administrator's password (polkit's `org.freedesktop.resolve1.subscribe-query-results`); before, root
//! alone.

use std::{
    net::IpAddr,
    num::NonZeroUsize,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use lru::LruCache;
use netglance_dbus::text::brief;
use rustix::fs::{Access, access};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufRead, AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::UnixStream,
    task::JoinHandle,
};

use super::host_name::host_name;

/// Where systemd-resolved listens.
pub const SOCKET: &str = "/run/systemd/resolve/io.systemd.Resolve.Monitor";
const METHOD: &str = "io.systemd.Resolve.Monitor.SubscribeQueryResults";
/// So many addresses are remembered; those that nobody has asked for the longest go first.
const MOST_ADDRESSES: NonZeroUsize = NonZeroUsize::new(8192).unwrap();
/// The longest message that is read. An answer has at most 64 KiB, which are some times as much in JSON.
const MOST_BYTES: u64 = 1 << 20;

/// Whether queries are followed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub enum Queries {
    /// This user may not: there is no systemd-resolved, or one that tells root alone.
    #[default]
    Unavailable,
    /// They aren't, but can be.
    Available,
    /// A person is being asked for a password.
    Asking,
    /// They are, until the program ends or somebody stops it.
    Followed,
    /// They were to be, and aren't: why, worded for a person. They can be tried again.
    Failed(String),
}

/// The names that were asked for.
#[derive(Debug)]
pub struct Monitor {
    socket: PathBuf,
    /// systemd-resolved asks nobody about root, and before 257 it doesn't know the word for that.
    is_root: bool,
    shared: Arc<Mutex<Shared>>,
    task: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    names: LruCache<IpAddr, String>,
    /// Not [`Queries::Unavailable`], and [`Queries::Available`] where nobody has asked.
    state: Queries,
    news: bool,
}

impl Monitor {
    /// One that has asked nobody yet.
    pub fn new(socket: &Path) -> Self {
        let shared = Shared { names: LruCache::new(MOST_ADDRESSES), state: Queries::Available, news: false };
        let is_root = rustix::process::geteuid().is_root();
        Self { socket: socket.to_owned(), is_root, shared: Arc::new(Mutex::new(shared)), task: None }
    }

    /// How it stands. Nobody is asked for anything, and nothing is started: the socket may start systemd-resolved, and where it tells
    /// root alone, only root may write to it.
    pub fn state(&self) -> Queries {
        let state = lock(&self.shared).state.clone();
        match state {
            Queries::Available | Queries::Failed(_) if access(&self.socket, Access::WRITE_OK).is_err() => {
                Queries::Unavailable
            }
            state => state,
        }
    }

    /// What this computer asked for, most recently, when it was told this address.
    pub fn name(&self, address: &IpAddr) -> Option<String> {
        lock(&self.shared).names.get(address).cloned()
    }

    /// Whether something was learnt since this was last called.
    pub fn take_news(&self) -> bool {
        std::mem::take(&mut lock(&self.shared).news)
    }

    /// Follows the queries from now on; a person may be asked for a password. Has to be called where tokio runs.
    pub fn follow(&mut self) {
        if matches!(lock(&self.shared).state, Queries::Asking | Queries::Followed) {
            return;
        }
        lock(&self.shared).state = Queries::Asking;
        let (shared, socket, is_root) = (Arc::clone(&self.shared), self.socket.clone(), self.is_root);
        self.task = Some(tokio::spawn(async move {
            let why = follow(&socket, is_root, &shared).await;
            lock(&shared).state = Queries::Failed(why);
        }));
    }

    /// Follows them no longer, and forgets what was learnt.
    pub fn stop(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
        }
        let mut shared = lock(&self.shared);
        shared.names.clear();
        shared.state = Queries::Available;
        shared.news = true;
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Follows the queries until that ends, and gives the reason for a person.
async fn follow(socket: &Path, is_root: bool, shared: &Mutex<Shared>) -> String {
    let mut stream = match UnixStream::connect(socket).await {
        Ok(stream) => BufReader::new(stream),
        Err(error) => return format!("systemd-resolved cannot be reached ({error})"),
    };
    let parameters = if is_root { json!({}) } else { json!({ "allowInteractiveAuthentication": true }) };
    let call = json!({ "method": METHOD, "parameters": parameters, "more": true });
    if let Err(error) = stream.write_all(format!("{call}\0").as_bytes()).await {
        return format!("systemd-resolved cannot be asked ({error})");
    }
    loop {
        let message = match message(&mut stream).await {
            Ok(message) => message,
            Err(why) => return why,
        };
        // The parameters may have more in them than is known here, or be something else.
        let Ok(reply) = serde_json::from_slice::<Reply>(&message) else {
            return "systemd-resolved's answer was not understood".to_owned();
        };
        if let Some(error) = reply.error {
            return refusal(&error);
        }
        let learnt = serde_json::from_value::<QueryResult>(reply.parameters).unwrap_or_default().addresses();
        let mut shared = lock(shared);
        shared.state = Queries::Followed;
        for (address, name) in learnt {
            shared.news |= shared.names.peek(&address) != Some(&name);
            shared.names.put(address, name);
        }
    }
}

/// The next message, or why there is none.
async fn message(stream: &mut (impl AsyncBufRead + Unpin)) -> Result<Vec<u8>, String> {
    let mut message = Vec::new();
    match stream.take(MOST_BYTES).read_until(0, &mut message).await {
        Err(error) => Err(format!("systemd-resolved cannot be read from ({error})")),
        Ok(_) if message.pop_if(|last| *last == 0).is_some() => Ok(message),
        Ok(bytes) if bytes as u64 == MOST_BYTES => Err("systemd-resolved sent too long a message".to_owned()),
        Ok(_) => Err("systemd-resolved has ended the connection".to_owned()),
    }
}

/// An error of Varlink's, for a person.
fn refusal(error: &str) -> String {
    match error.rsplit('.').next() {
        Some("PermissionDenied" | "InteractiveAuthenticationRequired") => {
            "no administrator's password was given, or none could be asked for".to_owned()
        }
        Some("MethodNotFound" | "InterfaceNotFound" | "InvalidParameter") => {
            "this version of systemd-resolved does not show its lookups to users".to_owned()
        }
        _ => format!("systemd-resolved refuses ({})", brief(error, 80)),
    }
}

#[derive(Deserialize)]
struct Reply {
    error: Option<String>,
    #[serde(default)]
    parameters: Value,
}

/// What became of a query. (`varlink-io.systemd.Resolve.Monitor.c`.)
#[derive(Default, Deserialize)]
struct QueryResult {
    /// "success", or what went wrong. The first message has none.
    #[serde(default)]
    state: String,
    question: Option<Vec<Key>>,
    answer: Option<Vec<Answer>>,
}

#[derive(Deserialize)]
struct Key {
    name: String,
}

#[derive(Deserialize)]
struct Answer {
    rr: Option<Record>,
}

#[derive(Deserialize)]
struct Record {
    /// Of A and AAAA records.
    address: Option<Vec<u8>>,
}

impl QueryResult {
    /// The addresses in it, with the name that was asked for: not with one that an alias (CNAME) led to.
    fn addresses(self) -> Vec<(IpAddr, String)> {
        let question = self.question.unwrap_or_default();
        let Some(name) = question.first().and_then(|key| host_name(&key.name)) else { return Vec::new() };
        if self.state != "success" {
            return Vec::new();
        }
        let address = |answer: Answer| {
            let bytes = answer.rr?.address?;
            let v4 = <[u8; 4]>::try_from(bytes.as_slice()).map(IpAddr::from);
            let address = v4.or_else(|_| <[u8; 16]>::try_from(bytes.as_slice()).map(IpAddr::from));
            Some((address.ok()?.to_canonical(), name.to_owned()))
        };
        self.answer.unwrap_or_default().into_iter().filter_map(address).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::net::UnixListener;

    use super::*;

    /// Speaks the protocol as systemd-resolved 257 does.
    struct Resolved {
        dir: tempfile::TempDir,
        listener: UnixListener,
    }

    impl Resolved {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let listener = UnixListener::bind(dir.path().join("monitor")).unwrap();
            Self { dir, listener }
        }

        fn monitor(&self) -> Monitor {
            let mut monitor = Monitor::new(&self.dir.path().join("monitor"));
            monitor.is_root = false;
            monitor
        }

        /// Takes a connection and its call.
        async fn accept(&self) -> (BufReader<UnixStream>, Value) {
            let mut stream = BufReader::new(self.listener.accept().await.unwrap().0);
            let call = message(&mut stream).await.unwrap();
            (stream, serde_json::from_slice(&call).unwrap())
        }
    }

    async fn say(stream: &mut BufReader<UnixStream>, message: Value) {
        stream.write_all(format!("{message}\0").as_bytes()).await.unwrap();
    }

    async fn eventually(mut done: impl FnMut() -> bool) {
        let patience = Duration::from_secs(10);
        let waited = async {
            while !done() {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(patience, waited).await.expect("it never came");
    }

    fn result(state: &str, name: &str, addresses: &[&str]) -> Value {
        let alias =
            json!({ "rr": { "key": { "class": 1, "type": 5, "name": name }, "name": "edge.example" }, "raw": "AA==" });
        let record = |address: &&str| {
            let (bytes, kind) = match address.parse().unwrap() {
                IpAddr::V4(v4) => (v4.octets().to_vec(), 1),
                IpAddr::V6(v6) => (v6.octets().to_vec(), 28),
            };
            let key = json!({ "class": 1, "type": kind, "name": "edge.example" });
            json!({ "rr": { "key": key, "address": bytes }, "raw": "AA==", "ifindex": 2 })
        };
        let answer: Vec<Value> = [alias].into_iter().chain(addresses.iter().map(record)).collect();
        let question = json!([{ "class": 1, "type": 1, "name": name }, { "class": 1, "type": 28, "name": name }]);
        json!({ "parameters": { "state": state, "question": question, "answer": answer }, "continues": true })
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[tokio::test]
    async fn an_address_has_the_name_that_was_asked_for() {
        let resolved = Resolved::new();
        let mut monitor = resolved.monitor();
        assert_eq!(monitor.state(), Queries::Available);
        monitor.follow();
        let (mut stream, call) = resolved.accept().await;
        assert_eq!(
            call,
            json!({
                "method": "io.systemd.Resolve.Monitor.SubscribeQueryResults",
                "parameters": { "allowInteractiveAuthentication": true },
                "more": true,
            })
        );
        assert_eq!(monitor.state(), Queries::Asking, "until the person has given the password");
        monitor.follow(); // a second click asks nobody a second time
        say(&mut stream, json!({ "parameters": { "ready": true }, "continues": true })).await;
        eventually(|| monitor.state() == Queries::Followed).await;
        assert!(!monitor.take_news());
        for message in [
            result("success", "api.example.com", &["203.0.113.7", "2001:db8::7", "::ffff:203.0.113.8"]),
            result("success", "first.example", &["203.0.113.9"]),
            result("success", "second.example.", &["203.0.113.9"]),
            result("success", "<b>.example", &["203.0.113.10"]),
            result("success", "127.0.0.1", &["203.0.113.11"]),
            result("rcode-failure", "none.example", &["203.0.113.12"]),
            json!({ "parameters": { "state": "success", "question": 7 }, "continues": true }),
            json!({ "parameters": { "state": "success", "answer": [{ "rr": { "address": [1, 2, 3] } }] }, "continues": true }),
            json!({ "parameters": { "state": "success", "question": [], "answer": null }, "continues": true }),
            json!({ "continues": true }),
            result("success", "last.example", &["203.0.113.13"]),
        ] {
            say(&mut stream, message).await;
        }
        eventually(|| monitor.name(&address("203.0.113.13")).is_some()).await;
        assert!(monitor.take_news() && !monitor.take_news());
        let name = |text: &str| monitor.name(&address(text));
        for text in ["203.0.113.7", "2001:db8::7", "203.0.113.8"] {
            assert_eq!(name(text).as_deref(), Some("api.example.com"), "{text}");
        }
        assert_eq!(name("203.0.113.9").as_deref(), Some("second.example"), "the latest");
        for text in ["203.0.113.10", "203.0.113.11", "203.0.113.12", "198.51.100.1"] {
            assert_eq!(name(text), None, "{text}");
        }
        monitor.stop();
        assert_eq!((monitor.state(), monitor.name(&address("203.0.113.7"))), (Queries::Available, None));
        eventually(|| matches!(stream.get_ref().try_read(&mut [0]), Ok(0))).await;
    }

    #[tokio::test]
    async fn why_it_ended_is_a_sentence_and_it_can_be_tried_again() {
        let resolved = Resolved::new();
        let mut monitor = resolved.monitor();
        let long = "a".repeat(usize::try_from(MOST_BYTES).unwrap());
        for (said, sentence) in [
            (
                "{\"error\":\"org.varlink.service.PermissionDenied\",\"parameters\":{}}\0",
                "no administrator's password was given, or none could be asked for",
            ),
            (
                "{\"error\":\"io.systemd.InteractiveAuthenticationRequired\"}\0",
                "no administrator's password was given, or none could be asked for",
            ),
            (
                "{\"error\":\"org.varlink.service.MethodNotFound\"}\0",
                "this version of systemd-resolved does not show its lookups to users",
            ),
            ("{\"error\":\"io.systemd.System\\u001b\"}\0", "systemd-resolved refuses (io.systemd.System\u{FFFD})"),
            ("{\"param", "systemd-resolved has ended the connection"),
            ("what?\0", "systemd-resolved's answer was not understood"),
            (&long, "systemd-resolved sent too long a message"),
        ] {
            monitor.follow();
            let (mut stream, _) = resolved.accept().await;
            _ = stream.write_all(said.as_bytes()).await;
            drop(stream);
            eventually(|| monitor.state() != Queries::Asking).await;
            assert_eq!(monitor.state(), Queries::Failed(sentence.to_owned()));
        }
    }

    #[tokio::test]
    async fn a_restart_of_systemd_resolved_ends_it_and_what_was_learnt_stays() {
        let resolved = Resolved::new();
        let mut monitor = resolved.monitor();
        monitor.follow();
        let (mut stream, _) = resolved.accept().await;
        say(&mut stream, json!({ "parameters": { "ready": true }, "continues": true })).await;
        say(&mut stream, result("success", "api.example.com", &["203.0.113.7"])).await;
        drop(stream);
        eventually(|| matches!(monitor.state(), Queries::Failed(_))).await;
        assert_eq!(monitor.name(&address("203.0.113.7")).as_deref(), Some("api.example.com"));
    }

    #[tokio::test]
    async fn nothing_is_offered_where_there_is_no_such_socket() {
        let dir = tempfile::tempdir().unwrap();
        let mut monitor = Monitor::new(&dir.path().join("none"));
        assert_eq!(monitor.state(), Queries::Unavailable);
        monitor.follow();
        eventually(|| monitor.state() == Queries::Unavailable).await;
    }

    #[test]
    fn addresses_are_bounded() {
        let monitor = Monitor::new(Path::new("/none"));
        let mut shared = lock(&monitor.shared);
        for n in 0..20_000_u32 {
            shared.names.put(IpAddr::from(n.to_be_bytes()), "example.com".to_owned());
        }
        assert_eq!(shared.names.len(), 8192);
    }
}
