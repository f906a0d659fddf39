//! Docker's API, which podman has too, on a unix socket: which containers run, and when that changes.
//!
//! Asked is only for what runs (`GET /containers/json`), and again when the engine tells of a change (`GET /events`); changes that come
//! together are one. systemd may start an engine that is connected to. So docker is connected to only while it runs, and one that has ended is
//! not connected to again until its socket is made anew or somebody asks.

use std::{
    fs, io,
    os::unix::fs::{FileTypeExt as _, MetadataExt as _},
    path::{Path, PathBuf},
    time::Duration,
};

use http_body_util::{BodyExt as _, Empty, LengthLimitError, Limited};
use hyper::{
    Request, Response, StatusCode,
    body::{Bytes, Incoming},
    client::conn::http1,
    header::{HOST, SERVER},
};
use hyper_util::rt::TokioIo;
use tokio::{
    net::UnixStream,
    sync::mpsc,
    task::JoinSet,
    time::{Instant, sleep, sleep_until, timeout},
};

use super::{Engine, State, Teller, paths::Watch};

mod containers;

const CONTAINERS: &str = "/containers/json";
/// Podman says "died" where docker says "die". As a query: {"type":["container","network"],"event":["start", …]}
const EVENTS: &str = "/events?filters=%7B%22type%22%3A%5B%22container%22%2C%22network%22%5D%2C%22event%22%3A%5B%22start%22%2C%22die%22%2C%22died%22%2C%22rename%22%2C%22connect%22%2C%22disconnect%22%5D%7D";
/// An answer that comes later than this doesn't come.
const PATIENCE: Duration = Duration::from_secs(5);
/// The longest answer: some ten thousand containers.
const MOST_BYTES: usize = 32 << 20;
/// The longest headers.
const MOST_HEADER_BYTES: usize = 64 << 10;
/// What an engine tells within this time is asked for at once.
const TOGETHER: Duration = Duration::from_millis(100);
/// Podman 4.3 answers `/events` with the first event. By then it has listened for long.
const LISTENS: Duration = Duration::from_secs(1);
/// After an answer, it is not asked again for so many times as long as the answer took.
const REST: u32 = 10;
/// How long it is left alone after it failed: at first, and at most.
const FIRST_WAIT: Duration = Duration::from_millis(500);
const LONGEST_WAIT: Duration = Duration::from_secs(300);

/// A socket with that API.
#[derive(Clone, Debug)]
pub struct Socket {
    /// Where it is.
    pub path: PathBuf,
    /// Whose it is said to be; an answer says it better.
    pub engine: Engine,
    /// The process that has to be running, so that nothing is started by connecting. `None`: it may be started.
    pub daemon: Option<String>,
    /// Whose the socket of an engine is that makes networks of this host.
    pub owner: u32,
    /// Other sockets. If this is the same as one of them, nobody is asked twice.
    pub before: Vec<PathBuf>,
}

impl Socket {
    /// Follows what runs, and tells it.
    pub async fn follow(self, mut teller: Teller) {
        // Docker's comes with a file that says that it runs, also where systemd holds its socket.
        let pid_file = self.path.with_extension("pid");
        let mut watch =
            Watch::new([self.path.clone(), pid_file].into_iter().chain(self.before.clone()).collect(), false);
        let mut wait = FIRST_WAIT;
        loop {
            watch.begin();
            teller.begin();
            let mut has_answered = false;
            let state = match self.look() {
                Ok(()) => self.stay(&mut teller, &mut has_answered).await,
                Err(state) => state,
            };
            wait = if has_answered { FIRST_WAIT } else { (wait * 2).min(LONGEST_WAIT) };
            let fails = matches!(state, State::Failed(_));
            teller.tell(state);
            sleep(FIRST_WAIT).await;
            tokio::select! {
                () = watch.changed() => {}
                () = teller.asked() => {}
                () = sleep(wait), if fails => {}
            }
        }
    }

    /// Whether there is anybody to ask, without asking.
    fn look(&self) -> Result<(), State> {
        let metadata = fs::metadata(&self.path).map_err(|error| state(&error))?;
        let there = fs::canonicalize(&self.path).map_err(|error| state(&error))?;
        if self.before.iter().any(|before| fs::canonicalize(before).is_ok_and(|before| before == there)) {
            return Err(State::Absent);
        }
        if !metadata.file_type().is_socket() {
            return Err(State::Failed("it is not a socket".to_owned()));
        }
        if metadata.uid() != self.owner {
            return Err(State::Rootless);
        }
        match &self.daemon {
            Some(daemon) if !runs(daemon) => Err(State::Absent),
            _ => Ok(()),
        }
    }

    /// Asks, and again whenever something changes, until that fails.
    async fn stay(&self, teller: &mut Teller, has_answered: &mut bool) -> State {
        let (tell, news) = mpsc::channel(1);
        tokio::select! {
            state = listen(&self.path, tell) => state,
            state = self.ask_again(news, teller, has_answered) => state,
        }
    }

    async fn ask_again(&self, mut news: mpsc::Receiver<()>, teller: &mut Teller, has_answered: &mut bool) -> State {
        let mut once_more = Some(Instant::now() + LISTENS);
        loop {
            teller.begin();
            let begun = Instant::now();
            match timeout(PATIENCE, list(&self.path, self.engine)).await {
                Ok(Ok((engine, holders))) => teller.tell_holders(engine, holders),
                Ok(Err(state)) => return state,
                Err(_) => return State::Failed(format!("it has not answered for {} seconds", PATIENCE.as_secs())),
            }
            *has_answered = true;
            let rest = begun.elapsed() * REST;
            tokio::select! {
                Some(()) = news.recv() => {}
                () = teller.asked() => {}
                () = sleep_until(once_more.unwrap_or(begun)), if once_more.is_some() => once_more = None,
            }
            sleep(rest.max(TOGETHER)).await;
            _ = news.try_recv();
        }
    }
}

/// Whether a process is called this. Where the host hides processes, it may be.
fn runs(name: &str) -> bool {
    let is_called = |process: fs::DirEntry| {
        fs::read_to_string(process.path().join("comm")).is_ok_and(|called| called.trim_end() == name)
    };
    fs::metadata("/proc/1").is_err() || fs::read_dir("/proc").is_ok_and(|all| all.flatten().any(is_called))
}

/// Tells that something has changed, until that fails.
async fn listen(socket: &Path, tell: mpsc::Sender<()>) -> State {
    let (mut body, _connection) = match get(socket, EVENTS).await {
        Ok((response, connection)) => (response.into_body(), connection),
        Err(state) => return state,
    };
    loop {
        // If one waits already, this one is asked for with it.
        _ = tell.try_send(());
        match body.frame().await {
            Some(Ok(_)) => {}
            // It has ended.
            None => return State::Absent,
            Some(Err(error)) if error.is_incomplete_message() || error.is_canceled() => return State::Absent,
            Some(Err(error)) => return failed(&error),
        }
    }
}

/// What runs now, and who says so.
async fn list(socket: &Path, engine: Engine) -> Result<(Engine, Vec<super::Holder>), State> {
    let (response, _connection) = get(socket, CONTAINERS).await?;
    // Podman says its name; docker's socket may be its own.
    let server = response.headers().get(SERVER).and_then(|server| server.to_str().ok()).unwrap_or_default();
    let engine = match server.split('/').next() {
        Some("Libpod") => Engine::Podman,
        Some("Docker") => Engine::Docker,
        _ => engine,
    };
    let body = Limited::new(response.into_body(), MOST_BYTES).collect().await.map_err(|error| {
        if error.is::<LengthLimitError>() {
            State::Failed(format!("its answer is longer than {} MiB", MOST_BYTES >> 20))
        } else {
            failed(&*error)
        }
    })?;
    // Thousands of containers take longer than a beat may.
    let bytes = body.to_bytes();
    let read = tokio::task::spawn_blocking(move || containers::holders(&bytes, engine)).await;
    match read {
        Ok(Ok(holders)) => Ok((engine, holders)),
        _ => Err(State::Failed("its answer was not understood".to_owned())),
    }
}

/// Asks, and waits for the head of the answer. What comes second ends the connection.
async fn get(socket: &Path, path: &str) -> Result<(Response<Incoming>, JoinSet<()>), State> {
    let stream = UnixStream::connect(socket).await.map_err(|error| state(&error))?;
    let mut builder = http1::Builder::new();
    builder.max_buf_size(MOST_HEADER_BYTES);
    let (mut sender, connection) = builder.handshake(TokioIo::new(stream)).await.map_err(|error| failed(&error))?;
    let mut task = JoinSet::new();
    task.spawn(async move {
        // Its errors are those of the request.
        _ = connection.await;
    });
    let request = Request::get(path).header(HOST, "localhost").body(Empty::<Bytes>::new());
    let request = request.map_err(|error| failed(&error))?;
    let response = sender.send_request(request).await.map_err(|error| failed(&error))?;
    if response.status() != StatusCode::OK {
        return Err(State::Failed(format!("it answers with error {}", response.status().as_u16())));
    }
    Ok((response, task))
}

fn failed(error: &dyn std::error::Error) -> State {
    State::Failed(format!("its answer can't be read ({error})"))
}

/// What it means that a socket can't be looked at or connected to.
fn state(error: &io::Error) -> State {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => State::Absent,
        // It was left behind; or it has just been made, and its owner will listen in a moment. It is tried again.
        io::ErrorKind::ConnectionRefused => State::Failed("nobody listens there".to_owned()),
        io::ErrorKind::PermissionDenied => State::Denied,
        _ => State::Failed(format!("it cannot be reached ({error})")),
    }
}
