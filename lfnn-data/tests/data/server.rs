//! A web server on this machine that misbehaves as told.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// What the server does when asked for a path.
#[derive(Clone)]
pub(crate) enum Behaviour {
    /// Serves the bytes, and any range of them.
    Serve(Vec<u8>),
    /// Serves at most so many bytes of an answer, then closes the connection.
    BreakOff(Vec<u8>, usize),
    /// As `BreakOff`, but always from the start, whatever range is asked for.
    IgnoreRange(Vec<u8>, usize),
    /// Serves everything, whatever range is asked for.
    IgnoreRangeWhole(Vec<u8>),
    /// Answers with a range that was not asked for.
    WrongRange(Vec<u8>),
    /// Serves the bytes without saying how many there are.
    Unannounced(Vec<u8>),
    /// Sends half of the bytes and then nothing, without closing.
    Stall(Vec<u8>),
}

/// The server, and the requests it got as `PATH RANGE`.
pub(crate) struct Server {
    address: String,
    log: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// A server of these paths; every other path is answered 404.
    pub(crate) fn start(paths: impl IntoIterator<Item = (&'static str, Behaviour)>) -> Self {
        let paths: HashMap<_, _> = paths.into_iter().collect();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let log = Arc::new(Mutex::new(Vec::new()));
        let requests = log.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // A client that goes away is no concern of the server's.
                let _ = answer(stream, &paths, &requests);
            }
        });
        Self { address, log }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.address)
    }

    pub(crate) fn log(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }
}

fn answer(
    mut stream: TcpStream,
    paths: &HashMap<&str, Behaviour>,
    log: &Mutex<Vec<String>>,
) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let request = lines.next().unwrap_or(Ok(String::new()))?;
    let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
    let mut start = None;
    for line in lines {
        let line = line?.to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(range) = line.strip_prefix("range: bytes=") {
            start = range.trim_end_matches('-').parse::<usize>().ok();
        }
    }
    log.lock().unwrap().push(format!("{path} {}", start.map_or("-".into(), |s| s.to_string())));

    match paths.get(path.as_str()) {
        None => head(&mut stream, "404 Not Found", Some(0), None),
        Some(Behaviour::Serve(bytes)) => send(&mut stream, bytes, start, usize::MAX),
        Some(Behaviour::BreakOff(bytes, most)) => send(&mut stream, bytes, start, *most),
        Some(Behaviour::IgnoreRange(bytes, most)) => send(&mut stream, bytes, None, *most),
        Some(Behaviour::IgnoreRangeWhole(bytes)) => send(&mut stream, bytes, None, usize::MAX),
        Some(Behaviour::WrongRange(bytes)) => {
            let range = format!("bytes 0-{}/{}", bytes.len() - 1, bytes.len());
            head(&mut stream, "206 Partial Content", Some(bytes.len()), Some(range))?;
            stream.write_all(bytes)
        }
        Some(Behaviour::Unannounced(bytes)) => {
            head(&mut stream, "200 OK", None, None)?;
            stream.write_all(bytes)
        }
        Some(Behaviour::Stall(bytes)) => {
            send(&mut stream, bytes, start, bytes.len() / 2)?;
            // Another thread keeps the connection open, so that the next request is heard.
            thread::spawn(move || {
                thread::sleep(Duration::from_secs(20));
                drop(stream);
            });
            Ok(())
        }
    }
}

fn send(
    stream: &mut TcpStream,
    bytes: &[u8],
    start: Option<usize>,
    most: usize,
) -> std::io::Result<()> {
    let rest = &bytes[start.unwrap_or(0).min(bytes.len())..];
    match start {
        None => head(stream, "200 OK", Some(rest.len()), None)?,
        Some(start) => {
            let range = format!("bytes {start}-{}/{}", bytes.len() - 1, bytes.len());
            head(stream, "206 Partial Content", Some(rest.len()), Some(range))?;
        }
    }
    stream.write_all(&rest[..rest.len().min(most)])
}

fn head(
    stream: &mut TcpStream,
    status: &str,
    length: Option<usize>,
    range: Option<String>,
) -> std::io::Result<()> {
    let length = length.map_or(String::new(), |length| format!("Content-Length: {length}\r\n"));
    let range = range.map_or(String::new(), |range| format!("Content-Range: {range}\r\n"));
    write!(stream, "HTTP/1.1 {status}\r\n{length}{range}Connection: close\r\n\r\n")
}
