//! Serves the figures over HTTP, to whoever connects. What others do to it costs little: a connection carries one request and has
//! ten seconds; there are 128 of them at most, and a new one takes the place of the oldest, of those first that have not asked yet. So no
//! slow client keeps another from its answer. Whoever asks waits for the one task that looks; see [`super::exporter`].

use std::{
    collections::VecDeque,
    io,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Bytes, Incoming},
    header::{self, HeaderMap, HeaderName},
    http::uri::Authority,
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{mpsc, oneshot},
    task::AbortHandle,
    time::timeout,
};

use super::text::Format;

/// A connection that takes longer is closed.
const PATIENCE: Duration = Duration::from_secs(10);
/// The longest time for a request's headers.
const HEADERS_WITHIN: Duration = Duration::from_secs(5);
/// Connections at a time.
const MOST: usize = 128;
/// Bytes of a request's line and headers, at most.
const MOST_HEADER_BYTES: usize = 16 << 10;
/// Questions that wait for an answer, at most.
const MOST_QUESTIONS: usize = MOST;
/// After accepting a connection has failed, as where no descriptors are left.
const REST: Duration = Duration::from_millis(100);

const START: &str = "<!DOCTYPE html>
<html lang=\"en\"><head><meta charset=\"utf-8\"><title>netglance</title></head>
<body><h1>netglance</h1>
<p>How much each application is talking to the outside world, for Prometheus:</p>
<ul><li><a href=\"metrics\">Metrics</a></li><li><a href=\"-/healthy\">Health</a></li></ul>
</body></html>
";

/// Somebody wants the figures.
#[derive(Debug)]
pub struct Question {
    /// In this format.
    pub format: Format,
    /// Compressed.
    pub gzip: bool,
    /// Gets them, or a sentence that says why there are none.
    pub answer: oneshot::Sender<Result<Bytes, String>>,
}

/// A listening socket, and those who are connected.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    connections: VecDeque<Connection>,
    ask: mpsc::Sender<Question>,
}

#[derive(Debug)]
struct Connection {
    task: AbortHandle,
    /// Its request has come, as a whole.
    has_asked: Arc<AtomicBool>,
}

impl Server {
    /// Listens there. Questions come to the receiver.
    pub async fn open(address: SocketAddr) -> io::Result<(Self, mpsc::Receiver<Question>)> {
        let listener = TcpListener::bind(address).await?;
        let (ask, questions) = mpsc::channel(MOST_QUESTIONS);
        Ok((Self { listener, connections: VecDeque::new(), ask }, questions))
    }

    /// Where it listens.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Takes in the next connection. Whoever is connected is served meanwhile, by tasks of their own.
    pub async fn accept(&mut self) {
        let Ok((stream, _)) = self.listener.accept().await else {
            // Its reason lasts for a while.
            tokio::time::sleep(REST).await;
            return;
        };
        self.connections.retain(|connection| !connection.task.is_finished());
        if self.connections.len() >= MOST {
            let silent = self.connections.iter().position(|connection| !connection.has_asked.load(Ordering::Relaxed));
            if let Some(oldest) = self.connections.remove(silent.unwrap_or(0)) {
                oldest.task.abort();
            }
        }
        let has_asked = Arc::new(AtomicBool::new(false));
        let task = tokio::spawn(timeout(PATIENCE, serve(stream, has_asked.clone(), self.ask.clone())));
        self.connections.push_back(Connection { task: task.abort_handle(), has_asked });
        // It has its turn before many more come.
        tokio::task::yield_now().await;
    }
}

async fn serve(stream: TcpStream, has_asked: Arc<AtomicBool>, ask: mpsc::Sender<Question>) {
    let is_loopback = stream.local_addr().is_ok_and(|address| address.ip().to_canonical().is_loopback());
    let service = service_fn(|request| {
        has_asked.store(true, Ordering::Relaxed);
        respond(request, is_loopback, ask.clone())
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS_WITHIN)
        .max_buf_size(MOST_HEADER_BYTES)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    // How a client's connection fails is the client's business.
    _ = connection.await;
}

async fn respond(
    request: Request<Incoming>,
    is_loopback: bool,
    ask: mpsc::Sender<Question>,
) -> Result<Response<Full<Bytes>>, hyper::http::Error> {
    if ![Method::GET, Method::HEAD].contains(request.method()) {
        let response = Response::builder().status(StatusCode::METHOD_NOT_ALLOWED).header(header::ALLOW, "GET, HEAD");
        return response.body(Full::from("Only GET and HEAD are allowed here.\n"));
    }
    if is_loopback && !is_named_as_here(request.headers()) {
        let why = "Ask for this by its IP address, or as localhost.\n";
        return text(StatusCode::MISDIRECTED_REQUEST, why.to_owned());
    }
    match request.uri().path() {
        "/metrics" => metrics(request.headers(), ask).await,
        "/-/healthy" => text(StatusCode::OK, "netglance is running.\n".to_owned()),
        "/" => {
            let page = Response::builder().header(header::CONTENT_TYPE, "text/html; charset=utf-8");
            page.body(Full::from(START))
        }
        _ => text(StatusCode::NOT_FOUND, "There is nothing here. The figures are at /metrics.\n".to_owned()),
    }
}

async fn metrics(
    headers: &HeaderMap,
    ask: mpsc::Sender<Question>,
) -> Result<Response<Full<Bytes>>, hyper::http::Error> {
    let (format, gzip) = (format(headers), takes_gzip(headers));
    let (answer, answered) = oneshot::channel();
    _ = ask.send(Question { format, gzip, answer }).await;
    let body = match answered.await {
        Ok(Ok(body)) => body,
        Ok(Err(why)) => return text(StatusCode::SERVICE_UNAVAILABLE, format!("There are no figures: {why}\n")),
        Err(_) => return text(StatusCode::SERVICE_UNAVAILABLE, "netglance is about to end.\n".to_owned()),
    };
    let mut response = Response::builder()
        .header(header::CONTENT_TYPE, format.content_type())
        .header(header::VARY, "Accept, Accept-Encoding");
    if gzip {
        response = response.header(header::CONTENT_ENCODING, "gzip");
    }
    response.body(Full::new(body))
}

fn text(status: StatusCode, text: String) -> Result<Response<Full<Bytes>>, hyper::http::Error> {
    let response = Response::builder().status(status).header(header::CONTENT_TYPE, "text/plain; charset=utf-8");
    response.body(Full::from(text))
}

/// Whether a request is for this computer by its loopback address. A web page can have its own name lead here (DNS rebinding), and would
/// read what a browser gets by that name.
fn is_named_as_here(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(header::HOST) else { return true };
    let authority = host.to_str().ok().and_then(|host| host.parse::<Authority>().ok());
    authority.is_some_and(|authority| {
        let host = authority.host();
        let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
        address.is_ok() || host.eq_ignore_ascii_case("localhost")
    })
}

/// OpenMetrics for whoever likes it at least as much as plain text, which everybody else gets.
fn format(headers: &HeaderMap) -> Format {
    let (mut wish, mut text) = (0.0, 0.0);
    for (range, parameters, quality) in choices(headers, &header::ACCEPT) {
        let mut versions = parameters.iter().filter_map(|(name, value)| (*name == "version").then_some(*value));
        match range {
            "application/openmetrics-text" if versions.all(|version| version == "1.0.0") => wish = quality,
            "text/plain" => text = quality,
            _ => {}
        }
    }
    if wish > 0.0 && wish >= text { Format::OpenMetrics } else { Format::Text }
}

fn takes_gzip(headers: &HeaderMap) -> bool {
    choices(headers, &header::ACCEPT_ENCODING).any(|(coding, _, quality)| coding == "gzip" && quality > 0.0)
}

/// What a header like Accept lists: each choice, its parameters, and how much it is wanted from 0 to 1 (RFC 9110, section 12.4).
fn choices<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
) -> impl Iterator<Item = (&'a str, Vec<(&'a str, &'a str)>, f32)> {
    let lists = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    lists.flat_map(|list| list.split(',')).map(|choice| {
        let mut parts = choice.split(';').map(str::trim);
        let what = parts.next().unwrap_or_default();
        let parameters = parts.filter_map(|parameter| parameter.split_once('='));
        let (quality, parameters): (Vec<_>, Vec<_>) = parameters.partition(|(name, _)| name.eq_ignore_ascii_case("q"));
        let quality = quality.first().map_or(Some(1.0), |(_, value)| value.parse().ok());
        (what, parameters, quality.unwrap_or(0.0))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: HeaderName, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(name, header::HeaderValue::from_static(value))])
    }

    #[test]
    fn openmetrics_is_for_those_who_ask_for_it() {
        let check = |accept, expected| assert_eq!(format(&headers(header::ACCEPT, accept)), expected, "{accept}");
        use Format::{OpenMetrics, Text};
        // Prometheus 2.42 and 3.
        let prometheus = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
                          text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        check(prometheus, OpenMetrics);
        check("application/openmetrics-text; version=1.0.0; charset=utf-8", OpenMetrics);
        check("application/openmetrics-text", OpenMetrics);
        check("application/openmetrics-text;version=0.0.1", Text);
        check("application/openmetrics-text;q=0, text/plain;q=0.5", Text);
        check("application/openmetrics-text;q=0.4, text/plain;q=0.5", Text);
        check("application/openmetrics-text;q=much", Text);
        check("text/html, */*", Text);
        check("", Text);
        assert_eq!(format(&HeaderMap::new()), Text);
    }

    #[test]
    fn a_name_of_somebody_elses_is_not_answered_on_loopback() {
        let check = |host, expected| assert_eq!(is_named_as_here(&headers(header::HOST, host)), expected, "{host}");
        for host in ["127.0.0.1:10199", "127.0.0.1", "[::1]:10199", "localhost:9", "LocalHost"] {
            check(host, true);
        }
        for host in ["evil.example", "evil.example:10199", "localhost.evil.example", "", "a b"] {
            check(host, false);
        }
        assert!(is_named_as_here(&HeaderMap::new()), "HTTP/1.0");
    }

    #[test]
    fn only_who_takes_gzip_gets_it() {
        let check = |accept, expected| {
            assert_eq!(takes_gzip(&headers(header::ACCEPT_ENCODING, accept)), expected, "{accept}");
        };
        check("gzip", true);
        check("deflate, gzip;q=0.5", true);
        check("gzip;q=0, identity", false);
        check("identity", false);
        assert!(!takes_gzip(&HeaderMap::new()));
    }
}
