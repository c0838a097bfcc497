//! One file from the first mirror that gives it whole.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use ureq::http::header::{CONTENT_RANGE, RANGE};
use ureq::http::{Response, StatusCode};
use ureq::{Agent, Body};

use super::remote::{Patience, Remote};
use crate::{Attempt, Counted, DataError, FileState, Progress, Update, files};

/// Downloads `remote` to `target`.
pub(super) fn download(
    remote: &Remote,
    target: &Path,
    patience: Patience,
    progress: &dyn Progress,
) -> Result<(), DataError> {
    let download = Download {
        remote,
        target,
        part: part_of(target),
        agent: agent(patience),
        tries: patience.tries,
        progress,
    };
    // A part that is whole, from a run that was stopped before the check, needs no mirror.
    if download.received()? >= remote.file.bytes && download.finish()?.is_ok() {
        return Ok(());
    }
    let mut attempts = Vec::new();
    for url in &remote.mirrors {
        match download.try_mirror(url)? {
            Ok(()) => return Ok(()),
            Err(problem) => attempts.push(Attempt { url: url.clone(), problem }),
        }
    }
    Err(DataError::Download { file: remote.file.name.to_string(), attempts })
}

/// Where a file is until it is whole.
pub(super) fn part_of(target: &Path) -> PathBuf {
    let mut name = target.as_os_str().to_owned();
    name.push(".part");
    name.into()
}

fn agent(patience: Patience) -> Agent {
    let config = Agent::config_builder()
        .http_status_as_error(false)
        .timeout_resolve(Some(patience.connect))
        .timeout_connect(Some(patience.connect))
        .timeout_recv_response(Some(patience.connect))
        .timeout_per_read(Some(patience.stall))
        // The files are compressed. A server that "compresses" them in transit would make Range
        // count other bytes than ours.
        .accept_encoding("identity")
        .user_agent(concat!("lfnn-data/", env!("CARGO_PKG_VERSION")));
    config.build().into()
}

struct Download<'a> {
    remote: &'a Remote,
    target: &'a Path,
    part: PathBuf,
    agent: Agent,
    tries: u32,
    progress: &'a dyn Progress,
}

/// What became of asking a mirror. The outer error is this machine's and ends everything; the
/// inner one is the mirror's, and the next may do better.
type Outcome = Result<Result<(), String>, DataError>;

impl Download<'_> {
    /// Bytes of the part on disk.
    fn received(&self) -> Result<u64, DataError> {
        if self.part.is_file() { files::length(&self.part) } else { Ok(0) }
    }

    fn discard(&self) -> Result<(), DataError> {
        fs::remove_file(&self.part).map_err(DataError::io("delete", &self.part))
    }

    /// Everything one mirror is good for.
    fn try_mirror(&self, url: &str) -> Outcome {
        let mut mixed = self.received()? > 0;
        let mut problem = String::new();
        for _ in 0..self.tries.max(1) {
            let before = self.received()?;
            let asked = before < self.remote.file.bytes;
            if asked && let Err(broken) = self.receive(url, before)? {
                let after = self.received()?;
                problem = format!("{broken} (at byte {after} of {})", self.remote.file.bytes);
                if after <= before {
                    return Ok(Err(problem));
                }
                continue;
            }
            match self.finish()? {
                Ok(()) => return Ok(Ok(())),
                // Bytes that another mirror or an older run left may be wrong: once more, and from the
                // start.
                Err(wrong) if mixed => (mixed, problem) = (false, wrong),
                Err(wrong) => return Ok(Err(wrong)),
            }
        }
        Ok(Err(problem))
    }

    /// Checks the part and moves it to its name, or deletes it and says what is wrong with it.
    fn finish(&self) -> Outcome {
        let wrong = match self.remote.file.check(&self.part, self.progress)? {
            FileState::WrongLength { expected, .. } => {
                format!("oversized: more than {expected} bytes")
            }
            FileState::WrongChecksum { found, expected } => {
                format!("wrong contents: sha256 {found}; expected {expected}")
            }
            _ => {
                fs::rename(&self.part, self.target).map_err(DataError::io("write", self.target))?;
                return Ok(Ok(()));
            }
        };
        self.discard()?;
        Ok(Err(wrong))
    }

    /// One request from byte `start`, its body appended to the part.
    fn receive(&self, url: &str, start: u64) -> Outcome {
        let mut request = self.agent.get(url);
        if start > 0 {
            request = request.header(RANGE, format!("bytes={start}-"));
        }
        let response = match request.call() {
            Ok(response) => response,
            Err(error) => return Ok(Err(error.to_string())),
        };
        let start = match self.start_of(&response, start) {
            Ok(start) => start,
            Err(problem) => return Ok(Err(problem)),
        };
        let mut part = self.open_part(start)?;
        let outcome = self.append(response.into_body(), &mut part, start)?;
        // What was received must survive a crash as whole bytes before its name changes.
        part.sync_all().map_err(DataError::io("write", &self.part))?;
        Ok(outcome)
    }

    /// Which byte an answer begins with: 0 when the server ignores what was asked for. An answer
    /// that cannot be the file (a page that says sorry, say) must not spoil the part.
    fn start_of(&self, response: &Response<Body>, asked: u64) -> Result<u64, String> {
        let expected = self.remote.file.bytes;
        match response.status() {
            StatusCode::OK => match response.body().content_length() {
                Some(found) if found != expected => {
                    Err(format!("answered {found} bytes; expected {expected}"))
                }
                _ => Ok(0),
            },
            StatusCode::PARTIAL_CONTENT => {
                let range = response.headers().get(CONTENT_RANGE);
                let range = range.and_then(|range| range.to_str().ok()).unwrap_or_default();
                let wanted = format!("bytes {asked}-{}/{expected}", expected - 1);
                if range == wanted {
                    Ok(asked)
                } else {
                    Err(format!("answered range `{range}`; expected `{wanted}`"))
                }
            }
            status => Err(format!("answered {status}")),
        }
    }

    fn open_part(&self, start: u64) -> Result<File, DataError> {
        let mut options = OpenOptions::new();
        options.create(true);
        if start > 0 {
            options.append(true)
        } else {
            options.write(true).truncate(true)
        };
        options.open(&self.part).map_err(DataError::io("write", &self.part))
    }

    fn append(&self, body: Body, part: &mut File, start: u64) -> Outcome {
        // One byte too many shows an oversized file without receiving it all.
        let mut body = body.into_reader().take((self.remote.file.bytes + 1).saturating_sub(start));
        let (mut buffer, mut done, total) = (vec![0; 1 << 16], start, self.remote.file.bytes);
        loop {
            let count = match body.read(&mut buffer) {
                Ok(0) if done < total => return Ok(Err("broke off".to_owned())),
                Ok(0) => return Ok(Ok(())),
                Ok(count) => count,
                Err(error) => return Ok(Err(format!("broke off: {error}"))),
            };
            part.write_all(&buffer[..count]).map_err(DataError::io("write", &self.part))?;
            done += count as u64;
            let what = &*self.remote.file.name;
            self.progress.report(&Update { what, counted: Counted::Bytes, done, total });
        }
    }
}
